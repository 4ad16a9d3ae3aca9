// Leg B: the PTX that nvcc makes, translated and run. Its zoo holds a bug that only the PTX shows.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { missingReason, runsLongTests } from './_programs.js'
import { zooInMode } from './_run-zoo.js'

const translator = join(packageRoot, 'scripts/ptx-to-cpp.mjs')

function translate(body: string): string {
  const ptx = `.version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(\n.param .u64 k_param_0\n)\n{\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\n${body}\nret;\n}\n`
  const code = `import(${JSON.stringify(translator)}).then(m => process.stdout.write(m.translatePtx(${JSON.stringify(ptx)}, 'k.cu'))).catch(e => process.stdout.write('ERROR ' + e.message))`
  return execFileSync(process.execPath, ['-e', code], { encoding: 'utf8' })
}

test('an instruction without a rule stops the translation, whole form by whole form', t => {
  t.regex(translate('popc.b32 %r1, %r2;'), /__builtin_popcount/)
  for (const [text, name] of [
    ['bfind.u32 %r1, %r2;', 'bfind.u32 %r1, %r2'],
    ['add.sat.s32 %r1, %r2, %r3;', 'add.sat.s32 %r1, %r2, %r3'],
    ['mul.ftz.f32 %r1, %r2, %r3;', 'mul.ftz.f32'],
    ['setp.lt.ftz.f32 %p1, %r2, %r3;', 'setp.lt.ftz.f32'],
    ['activemask.b32 %r1;', 'activemask.b32'],
  ] as const) {
    const answer = translate(text)
    t.true(answer.startsWith('ERROR ptx: no rule for '), `${text}: ${answer.slice(0, 200)}`)
    t.true(answer.includes(name), answer)
  }
  t.regex(translate('add.s32 %q1, %r2, %r3;'), /ERROR ptx: no rule for the register %q1/)
  t.regex(translate('mov.u64 %rd1, nowhere;'), /ERROR ptx: no rule for the name 'nowhere'/)
})

if (missingReason) test.skip(`the zoo as translated PTX: ${missingReason}`, () => {})
else if (runsLongTests) test.serial('the zoo as translated PTX', zooInMode, 'ptx')
else test.skip('the zoo as translated PTX: only in npm run test:emulator', () => {})
