// One process per test file: a file that breaks the addon's state cannot reach another file's tests.
// Two at a time, since each opens a device with its own threads.
export default {
  files: ['dist/test/**/*.test.js'],
  workerThreads: false,
  concurrency: 2,
  timeout: '4m',
}
