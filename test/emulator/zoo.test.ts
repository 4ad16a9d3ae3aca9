// The emulator reports each seeded bug of the zoo in the mode that should, and nothing about the controls. The slow modes
// are in zoo-races.test.ts and ptx.test.ts.
import test from 'ava'
import { missingReason } from './_programs.js'
import { zooInMode } from './_run-zoo.js'
import { bugs } from './_zoo.js'

test('every bug of the zoo has a mode that must catch it', t => {
  t.true(Object.keys(bugs).length >= 27)
  for (const [name, modes] of Object.entries(bugs)) t.true(Object.keys(modes).length >= 1, name)
})

if (missingReason) {
  test.skip(`the zoo: ${missingReason}`, () => {})
} else {
  test.serial('plain: values and named errors, four schedules', zooInMode, 'plain')
  test.serial('lazy streams', zooInMode, 'lazy')
  test.serial('traffic and bank conflicts', zooInMode, 'trace')
  test.serial('leaks', zooInMode, 'leaks')
}
