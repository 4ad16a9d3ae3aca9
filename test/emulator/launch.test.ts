// What launch<> asks of CUDA on a card: the emulator has a launch of its own, so that no other test runs this one.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { missingReason, runProgram } from './_programs.js'

if (missingReason) test.skip(`launches as nvcc compiles them: ${missingReason}`, () => {})
else {
  test('launches as nvcc compiles them: grid, block, shared memory, stream, cluster, cooperation, failure', async t => {
    const script = join(packageRoot, 'scripts/emulator.mjs')
    const program = execFileSync(process.execPath, [script, 'launches'], { encoding: 'utf8' }).trim()
    const { code, output } = await runProgram([program])
    t.is(code, 0, output)
    t.deepEqual(output.trim().split('\n'), [
      'grid 3 2 4, block 64 1 2, shared 0, stream (nil), arguments 7 0x60',
      'grid 5 1 1, block 32 1 1, shared 49152, stream 0x50, arguments 8 0x60',
      'most shared memory 49168',
      'grid 5 1 1, block 32 1 1, shared 49168, stream 0x50, arguments 9 0x60',
      'grid 8 1 1, block 32 1 1, shared 64, stream 0x50, cluster 4 1 1, arguments 10 0x60',
      'grid 8 1 1, block 32 1 1, shared 0, stream 0x50, cooperative 1, arguments 11 0x60',
      'grid 8 1 1, block 32 1 1, shared 0, stream 0x50, cluster 2 1 1, cooperative 1, arguments 12 0x60',
      'grid 1 1 1, block 4096 1 1, shared 0, stream (nil), arguments 13 0x60',
      'launch of two_arguments failed: invalid configuration argument (cudaErrorInvalidConfiguration)',
    ])
  })
}
