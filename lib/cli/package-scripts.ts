// The build's own modules (scripts/*.mjs): plain JavaScript, since they run before anything is compiled. They are
// found from the package's folder, which is not the same distance away from lib/ and from dist/lib/.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageRoot } from '../native-loader.js'

export type BuildModule = typeof import('../../scripts/build-native.mjs')
export type ToolsModule = typeof import('../../scripts/native-tools.mjs')

export function importBuild(): Promise<BuildModule> {
  return import(pathToFileURL(join(packageRoot, 'scripts/build-native.mjs')).href) as Promise<BuildModule>
}

export function importTools(): Promise<ToolsModule> {
  return import(pathToFileURL(join(packageRoot, 'scripts/native-tools.mjs')).href) as Promise<ToolsModule>
}
