// What samples say of a policy: means with their standard error, and pass@k without bias.

/**
 * The probability that at least one of k samples is right, estimated without bias from n samples of which c are right:
 * 1 - C(n - c, k) / C(n, k), as a product, so that nothing overflows (Chen et al., arXiv 2107.03374).
 *
 * @throws {RangeError} unless 0 <= c <= n and 1 <= k <= n, whole numbers
 */
export function passAtK(n: number, c: number, k: number): number {
  const whole = [n, c, k].every(Number.isSafeInteger)
  if (!whole || c < 0 || c > n || k < 1 || k > n) {
    throw new RangeError(`passAtK: expected 0 <= c <= n and 1 <= k <= n, got n ${n}, c ${c}, k ${k}`)
  }
  if (n - c < k) return 1
  let none = 1
  for (let i = n - c + 1; i <= n; i++) none *= 1 - k / i
  return 1 - none
}

/** The mean, and its standard error with the unbiased variance; of one value the error is 0. */
export function meanAndError(values: readonly number[]): { mean: number; standardError: number } {
  const n = values.length
  if (n === 0) return { mean: Number.NaN, standardError: Number.NaN }
  const mean = values.reduce((sum, value) => sum + value, 0) / n
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, n - 1)
  return { mean, standardError: Math.sqrt(variance / n) }
}

/** 1, 2, 4 and so on up to n, and n itself. */
export function powersUpTo(n: number): number[] {
  const powers: number[] = []
  for (let k = 1; k < n; k *= 2) powers.push(k)
  return [...powers, n]
}
