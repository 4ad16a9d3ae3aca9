// attention-decode: new queries against the block key/value cache, and the cache itself. Contract: native/ops/attention-decode.h.
import type { ComputeDtype } from '../tensor/compute-dtype.js'
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

/** Positions per block of the cache, and per step of the key walk: native/ops/attention.h, kAttentionBlock. */
export const attentionBlock = 64
/** Positions whose keys stand together transposed: native/ops/attention.h, kKeyGroup. */
export const keyGroup = 16

/**
 * Keys and values of one layer, [N, K, 64, D] each; float32 keys are [N, K, 4*D, 16] (transposed in groups of 16
 * positions).
 */
export interface KeyValueCache {
  keys: Tensor
  values: Tensor
}

export function createKeyValueCache(
  device: Device,
  blocks: number,
  kvHeads: number,
  headDim: number,
  dtype: ComputeDtype = 'float32',
): KeyValueCache {
  const rows = [blocks, kvHeads, attentionBlock, headDim]
  const transposed = [blocks, kvHeads, (attentionBlock / keyGroup) * headDim, keyGroup]
  return {
    keys: device.empty(dtype === 'float32' ? transposed : rows, dtype),
    values: device.empty(rows, dtype),
  }
}

/** K*D */
function cacheWidth({ values }: KeyValueCache): number {
  return (values.shape[1] ?? 0) * (values.shape[3] ?? 0)
}

/** Writes k, v [T, K*D], of the cache's dtype, to slots [T] int32 (block * 64 + position in the block; -1 = nowhere). */
export function appendToCache(cache: KeyValueCache, k: Tensor, v: Tensor, slots: Tensor): void {
  const { dtype } = cache.keys
  checkTensor('kv-cache-append', 'k', k, dtype, [-1, cacheWidth(cache)])
  checkTensor('kv-cache-append', 'v', v, dtype, [k.rows, cacheWidth(cache)])
  checkTensor('kv-cache-append', 'slots', slots, 'int32', [k.rows])
  const { ops, handle } = k.device
  ops.kvCacheAppend(handle, k.handle, v.handle, slots.handle, cache.keys.handle, cache.values.handle)
}

/** Copies whole blocks, pairs [n, 2] int32 {from, to}. */
export function copyCacheBlocks(cache: KeyValueCache, pairs: Tensor): void {
  checkTensor('kv-cache-copy', 'pairs', pairs, 'int32', [-1, 2])
  const { ops, handle } = pairs.device
  ops.kvCacheCopy(handle, pairs.handle, cache.keys.handle, cache.values.handle)
}

/** q [B, H*D], of the cache's dtype -> [B, H*D]; blockTable [B, M] int32, lengths [B] int32 (keys that each row sees; 0 = idle). */
export function attentionDecode(
  q: Tensor,
  cache: KeyValueCache,
  blockTable: Tensor,
  lengths: Tensor,
  scale: number,
): Tensor {
  const { dtype } = cache.keys
  checkTensor('attention-decode', 'q', q, dtype, [-1, -1])
  if (q.columns === 0 || q.columns % cacheWidth(cache) !== 0) {
    throw new RangeError(
      `attention-decode: expected columns of q to be a multiple of the cache's ${cacheWidth(cache)}, got ${q}`,
    )
  }
  checkTensor('attention-decode', 'blockTable', blockTable, 'int32', [q.rows, -1])
  checkTensor('attention-decode', 'lengths', lengths, 'int32', [q.rows])
  const { device } = q
  const out = device.empty([q.rows, q.columns], dtype)
  device.ops.attentionDecode(
    device.handle,
    q.handle,
    cache.keys.handle,
    cache.values.handle,
    blockTable.handle,
    lengths.handle,
    scale,
    out.handle,
  )
  return out
}
