// Exact fractions against plain integer arithmetic, and their bounds.
import test from 'ava'
import fc from 'fast-check'
import * as rational from '../../../lib/rewards/verify/rational.js'

const parts = fc.tuple(fc.bigInt({ min: -10_000n, max: 10_000n }), fc.bigInt({ min: 1n, max: 10_000n }))

test('sums, differences, products, quotients and order', t => {
  fc.assert(
    fc.property(parts, parts, ([an, ad], [bn, bd]) => {
      const a = rational.fraction(an, ad) as rational.Rational
      const b = rational.fraction(bn, bd) as rational.Rational
      const same = (x: rational.Rational | undefined, n: bigint, d: bigint) =>
        x !== undefined && x.n * d === n * x.d
      t.true(same(rational.add(a, b), an * bd + bn * ad, ad * bd))
      t.true(same(rational.subtract(a, b), an * bd - bn * ad, ad * bd))
      t.true(same(rational.multiply(a, b), an * bn, ad * bd))
      if (bn === 0n) t.is(rational.divide(a, b), undefined)
      else t.true(same(rational.divide(a, b), an * bd * (bn < 0n ? -1n : 1n), ad * bn * (bn < 0n ? -1n : 1n)))
      t.is(Math.sign(rational.compare(a, b)), Math.sign(Number(an * bd - bn * ad)))
      t.is(rational.floor(a).n, BigInt(Math.floor(Number(an) / Number(ad))))
      t.is(rational.toNumber(a), Number(an) / Number(ad))
    }),
    { numRuns: 300, seed: 1 },
  )
})

test('decimals, powers and roots', t => {
  const text = (x: rational.Rational | undefined) => (x ? `${x.n}/${x.d}` : 'none')
  t.is(text(rational.decimal('-3.250')), '-13/4')
  t.is(text(rational.decimal('.5', 2)), '50/1')
  t.is(text(rational.decimal('12', -3)), '3/250')
  t.is(text(rational.decimal('1.2.3')), 'none')
  const power = (n: bigint, d: bigint, en: bigint, ed = 1n) =>
    text(rational.power({ n, d }, { n: en, d: ed }))
  t.is(power(-2n, 3n, 3n), '-8/27')
  t.is(power(-2n, 3n, -3n), '-27/8')
  t.is(power(4n, 9n, 1n, 2n), '2/3')
  t.is(power(8n, 27n, -2n, 3n), '9/4')
  t.is(power(2n, 1n, 1n, 2n), 'none')
  t.is(power(-8n, 1n, 1n, 3n), 'none')
  t.is(power(0n, 1n, -1n), 'none')
  t.is(power(0n, 1n, 0n), '1/1')
  t.is(power(1n, 1n, 10n ** 30n), '1/1')
  const large = 3n ** 500n
  t.is(power(large ** 2n, 1n, 1n, 2n), `${large}/1`)
})

test('what would be too long is refused before it is computed', t => {
  t.is(rational.power({ n: 9n, d: 1n }, { n: 9n ** 9n, d: 1n }), undefined)
  t.is(rational.power({ n: 2n, d: 1n }, { n: -(10n ** 30n), d: 1n }), undefined)
  t.is(rational.decimal('9'.repeat(3_001)), undefined)
  t.is(rational.decimal('1', 10 ** 9), undefined)
  const wide = rational.integer(1n << 50_000n)
  t.is(rational.multiply(wide, wide), undefined)
  t.true(Math.abs(rational.toNumber({ n: 3n * 10n ** 400n, d: 2n * 10n ** 400n }) - 1.5) < 1e-12)
})
