// The slow modes of the zoo: wild accesses, races, uninitialised memory, and the PTX of other architectures.
import { execFileSync } from 'node:child_process'
import test from 'ava'
import { missingReason, runsLongTests } from './_programs.js'
import { zooInMode } from './_run-zoo.js'

function hasValgrind(): boolean {
  try {
    execFileSync('valgrind', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

if (missingReason) {
  test.skip(`races and uninitialised memory: ${missingReason}`, () => {})
} else if (!runsLongTests) {
  test.skip('accesses, races and uninitialised memory: only in npm run test:emulator', () => {})
} else {
  test.serial('AddressSanitizer and UndefinedBehaviorSanitizer', zooInMode, 'asan')
  test.serial('ThreadSanitizer', zooInMode, 'tsan')
  test.serial('ThreadSanitizer over the translated PTX', zooInMode, 'ptxTsan')
  test.serial('translated PTX of compute_90a', zooInMode, 'ptx', '90a')
  test.serial('translated PTX of compute_120', zooInMode, 'ptx', '120')
  if (hasValgrind()) test.serial('valgrind', zooInMode, 'valgrind')
  else test.skip('valgrind: not installed', () => {})
}
