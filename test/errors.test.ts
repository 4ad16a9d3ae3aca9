import test from 'ava'
import * as errors from '../lib/errors.js'
import { AbortedError, exitCodeOf, LuffyError, ModelFileError, throwIfAborted } from '../lib/errors.js'

// The exit codes are a promise to scripts: they stand here once more, by hand.
const expected = {
  ConfigError: ['CONFIG_INVALID', 2],
  ModelFileError: ['MODEL_FILE_INVALID', 3],
  TokenizerError: ['TOKENIZER_MISMATCH', 3],
  TemplateError: ['TEMPLATE_INVALID', 3],
  RewardError: ['REWARD_FAILED', 3],
  DataError: ['DATA_INVALID', 3],
  CheckpointError: ['CHECKPOINT_INVALID', 4],
  NonFiniteError: ['NON_FINITE', 5],
  OutOfMemoryError: ['OUT_OF_MEMORY', 6],
  DeviceError: ['DEVICE_FAILED', 7],
  DisposedError: ['DISPOSED', 1],
  BusyError: ['BUSY', 1],
  AbortedError: ['ABORTED', 130],
  NativeMissingError: ['NATIVE_MISSING', 7],
} as const

const classes = errors as unknown as Record<string, typeof LuffyError>

test('each class has its name, code and exit code', t => {
  const exported = Object.keys(errors).filter(name => name.endsWith('Error') && name !== 'LuffyError')
  t.deepEqual(exported.sort(), Object.keys(expected).sort())
  for (const [name, [code, exitCode]] of Object.entries(expected)) {
    const error = new classes[name]!('what happened')
    t.is(error.name, name)
    t.is(error.code, code)
    t.is(error.exitCode, exitCode)
    t.is(exitCodeOf(error), exitCode)
    t.true(error instanceof LuffyError && error instanceof Error)
    t.true(error.stack?.startsWith(`${name}: what happened`), error.stack)
    t.is(JSON.stringify(Object.keys(error).filter(key => key === 'name')), '[]')
  }
  t.is(exitCodeOf(new TypeError('x')), 1)
  t.is(exitCodeOf(undefined), 1)
})

test('a message ends with what to do; facts are kept for programs', t => {
  const cause = new Error('inner')
  const options = { hint: 'run git lfs pull', path: '/m/x', details: { bytes: 131 }, code: 'LFS', cause }
  const error = new ModelFileError('x: 131 bytes, is a Git LFS pointer', options)
  t.is(error.message, 'x: 131 bytes, is a Git LFS pointer; run git lfs pull')
  t.is(error.hint, 'run git lfs pull')
  t.is(error.path, '/m/x')
  t.deepEqual(error.details, { bytes: 131 })
  t.is(error.code, 'LFS')
  t.is(error.cause, cause)
})

test('isInstance knows the classes, and those of another copy of the package', async t => {
  const error = new ModelFileError('x')
  t.true(LuffyError.isInstance(error))
  t.true(ModelFileError.isInstance(error))
  t.false(AbortedError.isInstance(error))
  t.false(ModelFileError.isInstance(new LuffyError('x')))
  for (const other of [undefined, null, 'x', 3, {}, new Error('x')]) t.false(LuffyError.isInstance(other))

  const copy = (await import(`../lib/errors.js?copy=${'2'}`)) as typeof errors
  t.not(copy.ModelFileError, ModelFileError)
  const foreign = new copy.ModelFileError('x')
  t.false(foreign instanceof ModelFileError)
  t.true(ModelFileError.isInstance(foreign))
  t.true(LuffyError.isInstance(foreign))
  t.is(exitCodeOf(foreign), 3)
})

test('an aborted signal throws its reason as the cause', t => {
  t.notThrows(() => throwIfAborted(undefined, 'sampling'))
  t.notThrows(() => throwIfAborted(new AbortController().signal, 'sampling'))
  const error = t.throws(() => throwIfAborted(AbortSignal.abort('why'), 'sampling'), {
    instanceOf: AbortedError,
  })
  t.is(error?.message, 'sampling was aborted')
  t.is(error?.cause, 'why')
})
