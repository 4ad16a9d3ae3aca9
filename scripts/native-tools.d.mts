// Types of scripts/native-tools.mjs for lib/cli and the tests.
export interface Tool {
  path: string
  version: string
}

export interface Tools {
  compiler: Tool | null
  cmake: Tool | null
  make: Tool | null
  ninja: Tool | null
  python: Tool | null
  nvcc: Tool | null
}

export function findCommand(name: string): string | null
export function findTools(): Tools
export function cmakeIsUsable(tools: Tools): boolean
export function installToolsCommand(): string
