// matmul: out[M,N] = A · B (+ out), each side transposed or not. Contract: native/ops/matmul.h.
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

export interface MatmulOptions {
  /** A is given as [K, M]. */
  transposeA?: boolean
  /** B is given as [N, K]. */
  transposeB?: boolean
  /** Add to this tensor [M, N] instead of making a new one. Of bfloat16 factors it may be float32. */
  accumulateInto?: Tensor
}

/** Returns [M, N], float32 or bfloat16 as the factors are. Throws RangeError when the inner sizes differ. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, accumulateInto } = options
  const dtype = activationDtype(a)
  checkTensor('matmul', 'a', a, dtype, [-1, -1])
  const [m, k] = transposeA ? [a.columns, a.rows] : [a.rows, a.columns]
  checkTensor('matmul', 'b', b, dtype, transposeB ? [-1, k] : [k, -1])
  const n = transposeB ? b.rows : b.columns
  const { device } = a
  const out = accumulateInto ?? device.empty([m, n], dtype)
  checkTensor('matmul', 'accumulateInto', out, out.dtype === 'float32' ? 'float32' : dtype, [m, n])
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
