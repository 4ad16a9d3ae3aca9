// matmul: out[M,N] = A · B (+ out), each side transposed or not. Contract: native/ops/matmul.h.
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

export interface MatmulOptions {
  /** A is given as [K, M]. */
  transposeA?: boolean
  /** B is given as [N, K]. */
  transposeB?: boolean
  /** Add to this tensor [M, N] instead of making a new one. */
  accumulateInto?: Tensor
}

/** Returns [M, N]. Throws RangeError when the inner sizes differ. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, accumulateInto } = options
  checkTensor('matmul', 'a', a, 'float32', [-1, -1])
  const [m, k] = transposeA ? [a.columns, a.rows] : [a.rows, a.columns]
  checkTensor('matmul', 'b', b, 'float32', transposeB ? [-1, k] : [k, -1])
  const n = transposeB ? b.rows : b.columns
  const { device } = a
  const out = accumulateInto ?? device.empty([m, n])
  checkTensor('matmul', 'accumulateInto', out, 'float32', [m, n])
  device.ops.matmul(
    device.handle,
    a.handle,
    b.handle,
    out.handle,
    transposeA,
    transposeB,
    accumulateInto !== undefined,
  )
  return out
}
