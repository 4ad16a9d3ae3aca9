// npm's "install" step: builds the addon. A machine that cannot build it still installs (exit 0): the first import
// then says what to run, and build/status.json holds the reason.
try {
  const { buildNative, describeBuild, progressPrinter } = await import('./build-native.mjs')
  const status = await buildNative({ onProgress: progressPrinter() })
  console.log(describeBuild(status))
  if (!status.ok) console.log('luffy: the rest is installed. After the repair: npx luffy build')
  else if (status.builder === 'node-gyp') console.log('luffy: CMake is needed only for CUDA, later')
} catch (error) {
  console.log(`luffy: the kernels are not built: ${error instanceof Error ? error.message : error}`)
  console.log('luffy: run npx luffy doctor to see what is missing')
}
