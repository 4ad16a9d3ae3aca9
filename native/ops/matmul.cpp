// Matrix product: the plan (who computes what, which block of which operand is packed when) around the tile kernel.
//
// `out` is cut into a grid of tasks, each an independent product on one thread. A task walks blocks of k and, inside,
// blocks of columns whose packed B stays in the second-level cache while strips of A, packed as they come, pass
// through the first-level cache. B is read where it is when it lies in rows and is used too few times to be worth
// packing. None of these choices changes an element's chain of additions (see matmul-product.h).
#include "matmul.h"

#include "matmul-pack.h"
#include "matmul-product.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

constexpr int64_t kSmallestTask = 1 << 16;    // multiply-adds that are worth another thread
constexpr int64_t kTasksPerThread = 4;        // finer than the threads, for a core that is busy with something else
constexpr int64_t kColumnBlock = 384;         // columns of packed B: 768 KiB with the longest block of k
constexpr int64_t kRowBlock = 1008;           // rows of A kept packed, when they meet several column blocks
constexpr int64_t kRowsWorthPacking = 48;     // below, B in rows is read where it is

LUFFY_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
LUFFY_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
LUFFY_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
// Start of part i of `parts` equal parts of n, in multiples of `unit`.
LUFFY_INLINE int64_t part(int64_t n, int64_t unit, int64_t i, int64_t parts) {
  return smaller(n, ceil_div(n, unit) * i / parts * unit);
}

struct Plan {
  int64_t row_parts = 1;
  int64_t column_parts = 1;
  int64_t row_block;       // rows of A that one task handles at a time
  int64_t a_floats;        // scratch per thread
  int64_t b_floats;
};

// The grid with the least time, by a rough count of cycles per k: one per row and panel for the arithmetic, a
// fraction for bringing in each row of A and column of B.
void choose_grid(const Product& product, int threads, Plan* plan) {
  const int64_t work = product.m * product.n * product.k;
  const int64_t most = work / kSmallestTask;
  if (threads == 1 || most < 2) return;
  double best = 0;
  for (int64_t tasks = threads * kTasksPerThread; tasks >= threads; tasks /= 2) {
    for (int64_t rows = 1; rows <= tasks; ++rows) {
      const int64_t columns = tasks / rows;
      if (rows * columns != tasks || tasks > larger(most, threads)) continue;
      if (rows > product.m || columns > ceil_div(product.n, kPanel)) continue;
      const double m = static_cast<double>(ceil_div(product.m, rows));
      const double n = static_cast<double>(ceil_div(ceil_div(product.n, kPanel), columns) * kPanel);
      const double cycles = static_cast<double>(ceil_div(tasks, threads)) * (m * n / kPanel + 0.25 * (m + n));
      if (best == 0 || cycles * 1.03 < best) {
        best = cycles;
        plan->row_parts = rows;
        plan->column_parts = columns;
      }
    }
  }
}

struct Task {
  int64_t m0, m1, n0, n1;
  float* a_scratch;
  float* b_scratch;
};

// B of one block of k and one block of columns, as the tile kernel reads it: panel p at base + p * panel, but the
// last, incomplete one apart when B is read where it is.
struct BBlock {
  const float* base;
  int64_t step;
  int64_t panel;
  const float* last;       // the incomplete panel, packed; or null
};

void pack_panel(const Product& product, int64_t k0, int64_t depth, int64_t column, int columns, float* to) {
  if (product.b_layout == BLayout::rows) {
    pack_copy<kPanel>(to, product.b + k0 * product.b_stride + column, product.b_stride, columns, depth);
  } else {
    pack_transpose<kPanel>(to, product.b + column * product.b_stride + k0, product.b_stride, columns, depth);
  }
}

BBlock prepare_b(const Product& product, int64_t k0, int64_t depth, int64_t n0, int64_t n1, bool in_place,
                 float* scratch) {
  if (product.b_layout == BLayout::packed) {
    return {product.b + n0 * product.k + k0 * kPanel, kPanel, kPanel * product.k, nullptr};
  }
  if (in_place) {
    const int64_t whole = n1 - (n1 - n0) % kPanel;
    if (whole < n1) pack_panel(product, k0, depth, whole, static_cast<int>(n1 - whole), scratch);
    return {product.b + k0 * product.b_stride + n0, product.b_stride, kPanel, whole < n1 ? scratch : nullptr};
  }
  for (int64_t n = n0; n < n1; n += kPanel) {
    pack_panel(product, k0, depth, n, static_cast<int>(smaller(kPanel, n1 - n)), scratch + (n - n0) * depth);
  }
  return {scratch, kPanel, kPanel * depth, nullptr};
}

// All columns of one block for `rows` rows: tile.a, tile.out and the rest of its fixed part are set.
void run_row_of_tiles(Tile tile, int rows, const BBlock& b, int64_t n0, int64_t n1) {
  float* out = tile.out;
  const float* bias = tile.bias;
  const int widest = widest_tile(rows);
  int panels;
  for (int64_t n = 0; n < n1 - n0; n += panels * kPanel) {
    const int64_t left = n1 - n0 - n;
    // Panels that can be taken together; the one apart goes alone.
    const int64_t together = b.last == nullptr ? ceil_div(left, kPanel) : larger(left / kPanel, 1);
    panels = widest;
    while (panels > together) panels /= 2;
    const bool apart = b.last != nullptr && left < kPanel;
    tile.b = apart ? b.last : b.base + n / kPanel * b.panel;
    tile.b_step = apart ? kPanel : b.step;
    tile.b_panel = b.panel;
    tile.out = out + n;
    tile.columns = static_cast<int>(smaller(left, panels * kPanel));
    tile.bias = bias == nullptr ? nullptr : bias + n;
    tile_kernel(rows, panels)(tile);
  }
}

void pack_strip(const Product& product, int64_t k0, int64_t depth, int64_t row, int rows, float* to) {
  if (product.a_transposed) {
    pack_copy<kStrip>(to, product.a + k0 * product.a_stride + row, product.a_stride, rows, depth);
  } else {
    pack_transpose<kStrip>(to, product.a + row * product.a_stride + k0, product.a_stride, rows, depth);
  }
}

void run_block_of_rows(const Product& product, const Task& task, int64_t m0, int64_t m1) {
  const int64_t rows = m1 - m0;
  const int64_t tiles = ceil_div(rows, kTileRows);
  const bool short_tiles = rows <= kShortRows;
  const int64_t block = k_block(product.k);
  const int64_t column_blocks = ceil_div(task.n1 - task.n0, kColumnBlock);
  const bool b_in_place = product.b_layout == BLayout::rows && rows < kRowsWorthPacking;
  for (int64_t k0 = 0; k0 < product.k; k0 += block) {
    const int64_t depth = smaller(block, product.k - k0);
    for (int64_t c = 0; c < column_blocks; ++c) {
      const int64_t n0 = task.n0 + part(task.n1 - task.n0, kPanel, c, column_blocks);
      const int64_t n1 = task.n0 + part(task.n1 - task.n0, kPanel, c + 1, column_blocks);
      const BBlock b = prepare_b(product, k0, depth, n0, n1, b_in_place, task.b_scratch);
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t row = m0 + part(rows, 1, t, tiles);
        const int tile_rows = static_cast<int>(m0 + part(rows, 1, t + 1, tiles) - row);
        Tile tile{};
        tile.depth = depth;
        if (short_tiles) {
          tile.a_row = product.a_transposed ? 1 : product.a_stride;
          tile.a_step = product.a_transposed ? product.a_stride : 1;
          tile.a = product.a + row * tile.a_row + k0 * tile.a_step;
        } else {
          float* strip = task.a_scratch + (column_blocks > 1 ? t * kStrip * depth : 0);
          if (c == 0) pack_strip(product, k0, depth, row, tile_rows, strip);
          tile.a = strip;
        }
        tile.out = product.out + row * product.out_stride + n0;
        tile.out_stride = product.out_stride;
        tile.add = product.accumulate || k0 > 0;
        tile.bias = product.bias != nullptr && k0 + depth == product.k ? product.bias + n0 : nullptr;
        run_row_of_tiles(tile, tile_rows, b, n0, n1);
      }
    }
  }
}

// K = 0: the empty sum.
void fill_empty(const Product& product) {
  for (int64_t i = 0; i < product.m; ++i) {
    float* out = product.out + i * product.out_stride;
    for (int64_t j = 0; j < product.n; ++j) {
      float x = product.accumulate ? out[j] : 0.0f;
      if (product.bias != nullptr) x += product.bias[j];
      out[j] = x;
    }
  }
}

}  // namespace

void run_product(Context& context, const Product& product) {
  if (product.m == 0 || product.n == 0) return;
  if (product.k == 0) return fill_empty(product);
  Plan plan;
  choose_grid(product, context.threads(), &plan);
  const int64_t depth = k_block(product.k);
  const int64_t rows = ceil_div(product.m, plan.row_parts);
  const int64_t columns = ceil_div(ceil_div(product.n, kPanel), plan.column_parts) * kPanel;
  const bool several = columns > kColumnBlock;
  plan.row_block = several ? smaller(rows, kRowBlock) : rows;
  // Even parts of at most kTileRows rows: at most one strip more than full ones.
  plan.a_floats = rows <= kShortRows ? 0 : (several ? ceil_div(plan.row_block, kTileRows) : 1) * kStrip * depth;
  plan.b_floats = product.b_layout == BLayout::packed ? 0 : smaller(columns, kColumnBlock) * depth;
  const int64_t tasks = plan.row_parts * plan.column_parts;
  const int64_t per_thread = (plan.a_floats + plan.b_floats + 15) / 16 * 16;
  float* scratch = context.scratch<float>(per_thread * (tasks > 1 ? context.threads() : 1) + 16);
  parallel_for(context, tasks, [&](int64_t index, int thread) {
    const int64_t i = index % plan.row_parts;
    const int64_t j = index / plan.row_parts;
    Task task;
    task.m0 = part(product.m, 1, i, plan.row_parts);
    task.m1 = part(product.m, 1, i + 1, plan.row_parts);
    task.n0 = part(product.n, kPanel, j, plan.column_parts);
    task.n1 = part(product.n, kPanel, j + 1, plan.column_parts);
    task.b_scratch = scratch + per_thread * (tasks > 1 ? thread : 0);
    task.a_scratch = task.b_scratch + plan.b_floats;
    const int64_t blocks = ceil_div(task.m1 - task.m0, plan.row_block);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t task_rows = task.m1 - task.m0;
      run_block_of_rows(product, task, task.m0 + part(task_rows, 1, b, blocks),
                        task.m0 + part(task_rows, 1, b + 1, blocks));
    }
  });
}

void pack_weight(Context& context, const float* weight, int64_t stride, int64_t n, int64_t k, float* packed) {
  auto pack = [&](int64_t panel, int) {
    const int columns = static_cast<int>(smaller(kPanel, n - panel * kPanel));
    pack_transpose<kPanel>(packed + panel * kPanel * k, weight + panel * kPanel * stride, stride, columns, k);
  };
  const int64_t panels = ceil_div(n, kPanel);
  if (n * k < kSmallestTask) {
    for (int64_t panel = 0; panel < panels; ++panel) pack(panel, 0);
  } else {
    parallel_for(context, panels, pack);
  }
}

void matmul(Context& context, Tensor a, Tensor b, Tensor out, bool transpose_a, bool transpose_b, bool accumulate) {
  check_rows("matmul", "out", out, DType::f32, -1, -1);
  const int64_t m = out.shape[0];
  const int64_t n = out.shape[1];
  const int64_t k = transpose_a ? a.shape[0] : a.shape[1];
  check_rows("matmul", "a", a, DType::f32, transpose_a ? k : m, transpose_a ? m : k);
  check_rows("matmul", "b", b, DType::f32, transpose_b ? n : k, transpose_b ? k : n);
  Product product{};
  product.m = m;
  product.n = n;
  product.k = k;
  product.a = a.f32();
  product.a_stride = a.row_stride;
  product.a_transposed = transpose_a;
  product.b = b.f32();
  product.b_stride = b.row_stride;
  product.b_layout = transpose_b ? BLayout::columns : BLayout::rows;
  product.out = out.f32();
  product.out_stride = out.row_stride;
  product.accumulate = accumulate;
  run_product(context, product);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
