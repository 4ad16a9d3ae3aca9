// Rows picked by an index, and gradients added back. See indexed-rows.cuh.
//
// Both are bound by memory: a copy moves each element twice, sixteen bytes at a time; an addition reads grad once and moves each touched row of
// the table once, 4 bytes an element of grad and 8 of the rows. The indices are sorted, so that the terms of one row
// stand together: a warp owns a row's 128 columns and adds its terms upwards, eight loads in flight.
#include "indexed-rows.cuh"

#include "sort-keys.cuh"

namespace luffy {
namespace cuda {

constexpr int kIndexedBlock = 256;
constexpr int kColumnsOfWarp = 128;

// Elements of four or two bytes as their bits; `nothing` where an index is outside the table.
template <class T, bool wide>
KERNEL(kIndexedBlock)
copy_indexed_rows_kernel(const T* table, int64_t table_rows, const int32_t* index, int64_t rows, int64_t columns,
                         T nothing, T* out, FaultSink faults) {
  constexpr int size = Pack<T>::size;
  for (GridPieces at(pieces_of(columns, size)); at.row < rows; at.next()) {
    const int64_t column = at.piece * size;
    const int64_t left = columns - column;
    const int64_t from = ld(index + at.row);
    const bool known = from >= 0 && from < table_rows;
    if (!known && column == 0) leave_fault(faults, FaultKind::index, at.row, static_cast<int32_t>(from), table_rows);
    const Pack<T> pack = load_pack<wide>(table + (known ? from * columns + column : 0), known ? left : 0, nothing);
    store_pack<wide>(out + at.row * columns + column, left, pack);
  }
}

template <class T, class Sum, bool wide>
KERNEL(kIndexedBlock, 4)
add_indexed_rows_kernel(const uint64_t* pairs, const int32_t* index, int64_t count, const T* grad, Sum* table,
                        int64_t table_rows, int64_t columns, FaultSink faults) {
  // Unaligned terms are four loads each.
  constexpr int in_flight = wide ? 8 : 4;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t tiles = pieces_of(columns, kColumnsOfWarp);
  for (int64_t i = grid_thread() / 32; i < count * tiles; i += grid_step() / 32) {
    const int64_t first = i / tiles;
    const uint64_t first_pair = ld(pairs + first);
    const uint32_t row = key_of(first_pair);
    if (row >= table_rows && lane == 0) {
      const uint32_t position = position_of(first_pair);
      leave_fault(faults, FaultKind::index, position, ld(index + position), table_rows);
    }
    // The warp of a row's first term adds them all.
    if (row >= table_rows || (first > 0 && key_of(ld(pairs + first - 1)) == row)) continue;
    const int64_t column = (i - first * tiles) * kColumnsOfWarp + 4 * lane;
    const int64_t left = columns - column;
    Sum* target = table + int64_t{row} * columns + column;
    Pack<float> sum = load_four<wide>(target, left, 0.0f);
    for (int64_t next = first; next < count; next += 32) {
      const uint64_t pair = next + lane < count ? ld(pairs + next + lane) : ~uint64_t{0};
      const uint32_t others = ~__ballot_sync(kFullWarp, key_of(pair) == row);
      const int terms = others == 0 ? 32 : __ffs(static_cast<int>(others)) - 1;
      for (int begin = 0; begin < terms; begin += in_flight) {
        Pack<float> term[in_flight];
#pragma unroll
        for (int k = 0; k < in_flight; ++k) {
          const int64_t from = __shfl_sync(kFullWarp, position_of(pair), begin + k);
          if (begin + k < terms) term[k] = load_four<wide>(grad + from * columns + column, left, 0.0f);
        }
#pragma unroll
        for (int k = 0; k < in_flight; ++k) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            if (begin + k < terms) sum.at[j] += term[k].at[j];
          }
        }
      }
      if (terms < 32) break;
    }
    store_four<wide>(target, left, sum);
  }
}

void copy_indexed_rows(Context& context, FaultOp op, const Tensor& table, const Tensor& index, const Tensor& out) {
  const int64_t rows = out.shape[0];
  const int64_t columns = out.shape[1];
  if (rows == 0 || columns == 0) return;
  const int size = static_cast<int>(16 / dtype_bytes(out.dtype));
  const Launch how(dim3(blocks_for(rows * pieces_of(columns, size), kIndexedBlock)), dim3(kIndexedBlock), 0,
                   stream_of(context));
  const bool wide = packs_aligned(table) && packs_aligned(out);
  const FaultSink faults = context.fault_sink(op);
  const auto run = [&](auto nothing) {
    using T = decltype(nothing);
    const auto* from = static_cast<const T*>(table.data);
    const auto* at = static_cast<const int32_t*>(index.i32());
    auto* to = static_cast<T*>(out.data);
    if (wide) {
      launch<copy_indexed_rows_kernel<T, true>>(how, from, table.shape[0], at, rows, columns, nothing, to, faults);
    } else {
      launch<copy_indexed_rows_kernel<T, false>>(how, from, table.shape[0], at, rows, columns, nothing, to, faults);
    }
  };
  if (out.dtype == DType::bf16) return run(uint16_t{0x7fc0});
  run(out.dtype == DType::f32 ? 0x7fc00000u : 0x80000000u);
}

void add_indexed_rows(Context& context, FaultOp op, const char* name, const Tensor& grad, const Tensor& index,
                      const Tensor& table) {
  const int64_t count = grad.shape[0];
  const int64_t columns = grad.shape[1];
  if (count == 0 || columns == 0) return;
  // No index reaches rows beyond 2^31, and a negative one is above this as an unsigned number.
  const int64_t table_rows = table.shape[0] < int64_t{1} << 31 ? table.shape[0] : int64_t{1} << 31;
  const uint64_t* pairs = sort_keys(context, name, index.i32(), count, static_cast<uint64_t>(table_rows));
  const int64_t warps = count * pieces_of(columns, kColumnsOfWarp);
  const Launch how(dim3(blocks_for(warps, kIndexedBlock / 32)), dim3(kIndexedBlock), 0, stream_of(context));
  const bool wide = rows_aligned(grad) && rows_aligned(table);
  const FaultSink faults = context.fault_sink(op);
  const auto run = [&](auto element, auto sum) {
    using T = decltype(element);
    using Sum = decltype(sum);
    const auto* from = static_cast<const T*>(grad.data);
    const auto* at = static_cast<const int32_t*>(index.i32());
    auto* to = static_cast<Sum*>(table.data);
    if (wide) {
      launch<add_indexed_rows_kernel<T, Sum, true>>(how, pairs, at, count, from, to, table_rows, columns, faults);
    } else {
      launch<add_indexed_rows_kernel<T, Sum, false>>(how, pairs, at, count, from, to, table_rows, columns, faults);
    }
  };
  if (grad.dtype == DType::f32) return run(0.0f, 0.0f);
  if (table.dtype == DType::f32) return run(bf16(), 0.0f);
  run(bf16(), bf16());
}

}  // namespace cuda
}  // namespace luffy
