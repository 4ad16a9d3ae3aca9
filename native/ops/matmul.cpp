// Matrix product: the plan (who computes what, which block of which operand is packed when) around the tile kernel.
//
// `out` is cut into a grid of tasks, each an independent product on one thread. A task walks blocks of k and blocks of
// columns; B of such a block is packed and stays in the second-level cache while strips of A, packed as they come,
// stream past it. An operand whose order suits the tile kernel is read where it is when it is used too few times to be
// worth packing. None of these choices changes an element's chain of additions (see matmul-product.h).
#include "matmul.h"

#include "matmul-pack.h"
#include "matmul-product.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

constexpr int64_t kSmallestTask = 1 << 16;     // multiply-adds that are worth another thread
constexpr int64_t kSmallestPart = 1 << 21;     // multiply-adds that are worth another task of the same thread
constexpr int64_t kTasksPerThread = 4;         // finer than the threads, for a core that is busy with something else
constexpr int64_t kColumnBlock = 384;          // columns of packed B: at most 768 KiB, in the second-level cache
constexpr int64_t kRowBlock = 72 * kTileRows;  // rows of A kept packed when they meet several blocks of columns
constexpr int64_t kStripBatch = 4;             // strips of A packed at a time when they stand side by side
constexpr int64_t kRowsWorthPacking = 100;     // below, B in rows is read where it is
constexpr int64_t kPanelRows = 4 * kStrip;     // up to so many rows meet packed weights in one pass over them
constexpr int64_t kFetchAhead = 128 * 16;      // floats of packed weights asked for in advance: 8 KiB

LUFFY_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
LUFFY_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
LUFFY_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How many parts `out` is cut into.
struct Grid {
  int64_t rows = 1;
  int64_t columns = 1;
};

// Few rows times weights that were packed beforehand, which come from memory.
LUFFY_INLINE bool in_one_pass(const Product& product) {
  return product.b_layout == BLayout::packed && product.m <= kPanelRows;
}

// The grid with the least time, by a rough count of cycles per k: one per row and panel for the arithmetic, a
// fraction for bringing in each row of A and column of B.
Grid choose_grid(const Product& product, int threads) {
  Grid grid;
  const int64_t work = product.m * product.n * product.k;
  const int64_t most = work / kSmallestTask;
  if (threads == 1 || most < 2) return grid;
  double best = 0;
  for (int64_t tasks = threads * kTasksPerThread; tasks >= 2; tasks /= 2) {
    if (tasks > (tasks > threads ? work / kSmallestPart : most)) continue;
    for (int64_t rows = 1; rows <= tasks; ++rows) {
      const int64_t columns = tasks / rows;
      if (rows * columns != tasks) continue;
      if (rows > product.m || columns > ceil_div(product.n, kPanel)) continue;
      const double m = static_cast<double>(ceil_div(product.m, rows));
      const double n = static_cast<double>(ceil_div(ceil_div(product.n, kPanel), columns) * kPanel);
      const double cycles = static_cast<double>(ceil_div(tasks, threads)) * (m * n / kPanel + 0.25 * (m + n));
      if (best == 0 || cycles * 1.03 < best) {
        best = cycles;
        grid.rows = rows;
        grid.columns = columns;
      }
    }
  }
  return grid;
}

// What is decided before the tasks start.
struct Plan {
  Product product;
  Grid grid;
  int64_t strips;         // of A: nearly equal parts of at most kTileRows rows, as many for every row of the grid
  const float* a_strips;  // all of A, packed for all tasks: [strip][K][kStrip]; or null
};

// All of A, or all of B, is packed for all tasks when several of them would pack the same part of it, and it is small
// enough to stay in a cache until they have used it.
constexpr int64_t kSharedFloats = 1 << 21;

Plan make_plan(const Product& product, int threads) {
  Plan plan{product, choose_grid(product, threads), 0, nullptr};
  const int64_t rows = ceil_div(product.m, plan.grid.rows);
  plan.strips = plan.grid.rows * ceil_div(rows, kTileRows);
  return plan;
}

// Rows of A whose k stand side by side need no packing, unless the stride puts the same k of all rows of a strip into
// one set of the first-level cache, which holds 12 lines or fewer.
constexpr int64_t kSetStride = 4096 / 4;  // floats
LUFFY_INLINE bool reads_a_in_place(const Product& product) {
  return !product.a_transposed && product.a_stride % kSetStride != 0;
}
LUFFY_INLINE bool shares_a(const Plan& plan) {
  const Product& product = plan.product;
  return plan.grid.columns > 1 && !product.a_transposed && !reads_a_in_place(product) && product.m > kPanelRows &&
         product.m * product.k <= kSharedFloats;
}
LUFFY_INLINE bool shares_b(const Plan& plan) {
  const Product& product = plan.product;
  return plan.grid.rows > 1 && product.b_layout != BLayout::packed && product.m > kPanelRows &&
         product.n * product.k <= kSharedFloats;
}

// Scratch per thread for packed strips and panels.
LUFFY_INLINE int64_t a_scratch_floats(const Product& product) {
  if (product.m <= kShortRows) return 0;
  if (in_one_pass(product)) return ceil_div(product.m, kStrip) * kStrip * product.k;
  const int64_t rows = product.n > kColumnBlock ? smaller(product.m, kRowBlock) : 0;
  return larger(ceil_div(rows, kTileRows) + 1, kStripBatch) * kStrip * k_block(product.k);
}
LUFFY_INLINE int64_t b_scratch_floats(const Product& product) {
  if (product.b_layout == BLayout::packed) return 0;
  return smaller(ceil_div(product.n, kPanel), kColumnBlock / kPanel) * kPanel * k_block(product.k);
}

// A over one block of k, in the plan's strips.
LUFFY_INLINE Source source_of_a(const Plan& plan, int64_t k0, int64_t depth) {
  const Product& product = plan.product;
  Source a;
  a.from = product.a + k0 * (product.a_transposed ? product.a_stride : 1);
  a.stride = product.a_stride;
  a.across = !product.a_transposed;
  a.depth = depth;
  a.extent = product.m;
  a.unit = 1;
  a.parts = plan.strips;
  return a;
}

// One block of k of one block of out, strips [s0, s1) x columns [n0, n1), and the scratch of the thread that computes it.
struct Block {
  const Plan& plan;
  int64_t k0, depth;
  int64_t s0, s1, n0, n1;
  bool a_in_place, b_in_place;
  float* a_scratch;
  float* b_scratch;
  Source a, b;
};

Block make_block(const Plan& plan, int64_t k0, int64_t depth, int64_t s0, int64_t s1, int64_t n0, int64_t n1,
                 bool a_in_place, bool b_in_place, float* scratch) {
  const Product& product = plan.product;
  Source b;
  b.across = product.b_layout == BLayout::columns;
  b.from = product.b + (b.across ? n0 * product.b_stride + k0 : k0 * product.b_stride + n0);
  b.stride = product.b_stride;
  b.depth = depth;
  b.extent = n1 - n0;
  b.unit = kPanel;
  b.parts = ceil_div(b.extent, kPanel);
  return {plan,       k0,
          depth,      s0,
          s1,         n0,
          n1,         a_in_place,
          b_in_place, scratch + b_scratch_floats(product),
          scratch,    source_of_a(plan, k0, depth),
          b};
}

// Strip `strip` of A times `panels` panels of B from `panel` on. a and b: where they are packed, if they are.
// fetches: the rows of the next strip are asked for meanwhile, two by each of its tiles.
void multiply_tile(const Block& block, int64_t strip, const float* a, int64_t panel, int panels, const float* b,
                   bool fetches) {
  const Product& product = block.plan.product;
  const int64_t row = block.a.start(strip);
  const int rows = static_cast<int>(block.a.start(strip + 1) - row);
  const int64_t column = block.n0 + panel * kPanel;
  const int64_t columns = smaller(block.n1 - column, panels * kPanel);
  Tile tile;
  tile.depth = block.depth;
  if (block.a_in_place) {
    tile.a_row = product.a_transposed ? 1 : product.a_stride;
    tile.a_step = product.a_transposed ? product.a_stride : 1;
    tile.a = product.a + row * tile.a_row + block.k0 * tile.a_step;
  } else {
    tile.a_row = 1;
    tile.a_step = kStrip;
    tile.a = a;
  }
  if (product.b_layout == BLayout::packed) {
    tile.b = product.b + column * product.k + block.k0 * kLanes;
    tile.b_step = kLanes;
    tile.b_panel = product.k * kPanel;
    tile.b_vector = product.k * kLanes;
  } else if (block.b_in_place && columns == panels * kPanel) {
    tile.b = product.b + block.k0 * product.b_stride + column;
    tile.b_step = product.b_stride;
    tile.b_panel = kPanel;
    tile.b_vector = kLanes;
  } else {
    tile.b = b;
    tile.b_step = kPanel;
    tile.b_panel = kPanel * block.depth;
    tile.b_vector = kLanes;
  }
  tile.fetch = 0;
  const int64_t next = block.a.start(strip + 1) + 2 * panel;
  const int64_t last = block.a.start(strip + 2) - 1;
  tile.next[0] = fetches && next <= last ? block.a.from + next * block.a.stride : nullptr;
  tile.next[1] = fetches ? block.a.from + smaller(next + 1, last) * block.a.stride : nullptr;
  tile.out = product.out + row * product.out_stride + column;
  tile.out_stride = product.out_stride;
  tile.columns = static_cast<int>(columns);
  tile.add = product.accumulate || block.k0 > 0;
  tile.bias = product.bias != nullptr && block.k0 + block.depth == product.k ? product.bias + column : nullptr;
  tile_kernel(rows, panels, block.a_in_place && !product.a_transposed)(tile);
}

// keep_a: strips stay packed for the next block of columns, which then finds a_is_packed.
void run_block(const Block& block, bool keep_a, bool a_is_packed) {
  const Plan& plan = block.plan;
  const int64_t panels = block.b.parts;
  const int64_t a_floats = kStrip * block.depth;
  const int64_t b_floats = kPanel * block.depth;
  // Panels read in place: all but an incomplete last one. A tile never spans panels of both kinds.
  const int64_t in_place = block.b_in_place ? (block.n1 - block.n0) / kPanel : 0;
  if (plan.product.b_layout != BLayout::packed) pack<kPanel>(block.b, in_place, panels, block.b_scratch);
  const int64_t rows = block.a.start(block.s1) - block.a.start(block.s0);
  const int widest = widest_tile(static_cast<int>(smaller(rows, kTileRows)));
  const int64_t batch = plan.product.a_transposed ? kStripBatch : 1;
  const bool packs_a = !block.a_in_place && plan.a_strips == nullptr;
  for (int64_t first = block.s0; first < block.s1; first += batch) {
    const int64_t end = smaller(block.s1, first + batch);
    float* packed = block.a_scratch + (keep_a ? (first - block.s0) * a_floats : 0);
    if (packs_a && !a_is_packed) pack<kStrip>(block.a, first, end, packed);
    for (int64_t strip = first; strip < end; ++strip) {
      const float* a = plan.a_strips == nullptr ? packed + (strip - first) * a_floats
                                                : plan.a_strips + (strip * plan.product.k + block.k0) * kStrip;
      const bool fetches = block.a.across && plan.a_strips == nullptr && !a_is_packed && strip + 1 < block.s1;
      int wide;
      for (int64_t panel = 0; panel < panels; panel += wide) {
        const int64_t alike = (panel < in_place ? in_place : panels) - panel;
        wide = widest;
        while (wide > alike) wide /= 2;
        multiply_tile(block, strip, a, panel, wide, block.b_scratch + larger(panel - in_place, 0) * b_floats, fetches);
      }
    }
  }
}

// A task of few rows times packed weights, in one pass over the weights, in the order they lie in memory, which is what
// such a product waits for: each vector of columns meets all k and all rows before the next one. Short rows read A where
// it is and take some vectors at a time.
void run_one_pass(const Product& product, int64_t m0, int64_t m1, int64_t n0, int64_t n1, float* scratch) {
  const int64_t rows = m1 - m0;
  const bool in_place = rows <= kShortRows;
  Source a;
  a.from = product.a + m0 * product.a_stride;
  a.stride = product.a_stride;
  a.across = true;
  a.depth = product.k;
  a.extent = rows;
  a.unit = 1;
  a.parts = in_place ? 1 : ceil_div(rows, kStrip);
  if (!in_place) pack<kStrip>(a, 0, a.parts, scratch);
  const int64_t longest = k_block(product.k);
  const int widest = in_place ? widest_tile(static_cast<int>(rows)) : 0;
  int64_t wide;
  for (int64_t column = n0; column < n1; column += wide) {
    int panels = widest;
    while (panels > 1 && panels * kPanel > ceil_div(n1 - column, kPanel) * kPanel) panels /= 2;
    wide = in_place ? panels * kPanel : kLanes;
    for (int64_t k0 = 0; k0 < product.k; k0 += longest) {
      for (int64_t strip = 0; strip < a.parts; ++strip) {
        const int64_t row = m0 + a.start(strip);
        Tile tile;
        tile.depth = smaller(longest, product.k - k0);
        tile.a = in_place ? product.a + row * product.a_stride + k0 : scratch + (strip * product.k + k0) * kStrip;
        tile.a_row = in_place ? product.a_stride : 1;
        tile.a_step = in_place ? 1 : kStrip;
        tile.b = product.b + column * product.k + k0 * kLanes;
        tile.b_step = kLanes;
        tile.b_panel = product.k * kPanel;
        tile.b_vector = product.k * kLanes;
        tile.fetch = strip == 0 ? kFetchAhead / (wide / kLanes) : 0;
        tile.next[0] = tile.next[1] = nullptr;
        tile.out = product.out + row * product.out_stride + column;
        tile.out_stride = product.out_stride;
        tile.columns = static_cast<int>(smaller(n1 - column, wide));
        tile.add = product.accumulate || k0 > 0;
        tile.bias = product.bias != nullptr && k0 + tile.depth == product.k ? product.bias + column : nullptr;
        const int height = static_cast<int>(m0 + a.start(strip + 1) - row);
        (in_place ? tile_kernel(height, panels) : vector_kernel(height))(tile);
      }
    }
  }
}

// Strips [s0, s1) and columns [n0, n1) of out.
void run_task(const Plan& plan, int64_t s0, int64_t s1, int64_t n0, int64_t n1, float* scratch) {
  const Product& product = plan.product;
  const int64_t m0 = part(product.m, 1, s0, plan.strips);
  const int64_t m1 = part(product.m, 1, s1, plan.strips);
  if (in_one_pass(product)) return run_one_pass(product, m0, m1, n0, n1, scratch);
  const int64_t longest = k_block(product.k);
  const int64_t column_blocks = ceil_div(n1 - n0, kColumnBlock);
  const bool keep_a = column_blocks > 1 && plan.a_strips == nullptr && !reads_a_in_place(product);
  const int64_t row_blocks = keep_a ? ceil_div(m1 - m0, kRowBlock) : 1;
  const bool a_in_place = reads_a_in_place(product) || m1 - m0 <= kShortRows || (product.a_transposed && !keep_a);
  const bool b_in_place = product.b_layout == BLayout::rows && m1 - m0 < kRowsWorthPacking;
  for (int64_t i = 0; i < row_blocks; ++i) {
    for (int64_t k0 = 0; k0 < product.k; k0 += longest) {
      for (int64_t j = 0; j < column_blocks; ++j) {
        const Block block =
            make_block(plan, k0, smaller(longest, product.k - k0), s0 + (s1 - s0) * i / row_blocks,
                       s0 + (s1 - s0) * (i + 1) / row_blocks, n0 + part(n1 - n0, kPanel, j, column_blocks),
                       n0 + part(n1 - n0, kPanel, j + 1, column_blocks), a_in_place, b_in_place, scratch);
        run_block(block, keep_a, j > 0);
      }
    }
  }
}

// All strips of a source, on all threads when that is worth it.
template <int Width>
void pack_all(Context& context, const Source& source, float* packed) {
  const int64_t tasks = source.extent * source.depth < kSmallestTask ? 1 : source.parts;
  parallel_for(context, tasks, [&](int64_t task, int) {
    const int64_t first = source.parts * task / tasks;
    pack<Width>(source, first, source.parts * (task + 1) / tasks, packed + first * Width * source.depth);
  });
}

const float* pack_a(Context& context, const Plan& plan) {
  const int64_t k = plan.product.k;
  float* packed = context.scratch<float>(plan.strips * kStrip * k);
  pack_all<kStrip>(context, source_of_a(plan, 0, k), packed);
  return packed;
}

// All of B in the layout of packed weights.
void pack_b(Context& context, const Product& product, float* packed) {
  Source source;
  source.from = product.b;
  source.stride = product.b_stride;
  source.across = product.b_layout == BLayout::columns;
  source.depth = product.k;
  source.extent = product.n;
  source.unit = kLanes;
  source.parts = ceil_div(product.n, kLanes);
  pack_all<kLanes>(context, source, packed);
  const int64_t whole = source.parts * kLanes * product.k;
  const int64_t rest = packed_weight_size(product.n, product.k) - whole;
  __builtin_memset(packed + whole, 0, static_cast<size_t>(rest) * sizeof(float));
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
  Plan plan = make_plan(product, context.threads());
  if (shares_a(plan)) plan.a_strips = pack_a(context, plan);
  if (shares_b(plan)) {
    float* packed = context.scratch<float>(packed_weight_size(product.n, product.k));
    pack_b(context, product, packed);
    plan.product.b = packed;
    plan.product.b_layout = BLayout::packed;
  }
  const Grid grid = plan.grid;
  const int64_t tasks = grid.rows * grid.columns;
  const int64_t per_thread = b_scratch_floats(plan.product) + a_scratch_floats(plan.product);
  float* scratch = context.scratch<float>(per_thread * (tasks > 1 ? context.threads() : 1));
  parallel_for(context, tasks, [&](int64_t index, int thread) {
    const int64_t i = index % grid.rows;
    const int64_t j = index / grid.rows;
    run_task(plan, plan.strips * i / grid.rows, plan.strips * (i + 1) / grid.rows,
             part(product.n, kPanel, j, grid.columns), part(product.n, kPanel, j + 1, grid.columns),
             scratch + per_thread * (tasks > 1 ? thread : 0));
  });
}

void pack_weight(Context& context, const float* weight, int64_t stride, int64_t n, int64_t k, float* packed) {
  Product product{};
  product.n = n;
  product.k = k;
  product.b = weight;
  product.b_stride = stride;
  product.b_layout = BLayout::columns;
  pack_b(context, product, packed);
}

void matmul(Context& context, Tensor a, Tensor b, Tensor out, bool transpose_a, bool transpose_b, bool accumulate) {
  run_product(context, matmul_product<float, float>(a, b, out, transpose_a, transpose_b, accumulate));
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
