// Child processes of tests: scripts beside the tests that end in ways a test process cannot.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface ChildResult {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunningChild {
  process: ChildProcess
  /** Waits for a line of its output that starts so; throws when the child ends before. */
  line(start: string): Promise<string>
  ended: Promise<ChildResult>
}

/** Starts a compiled script (a URL relative to the caller's) with arguments and additional environment. */
export function startChild(
  script: URL,
  args: readonly string[],
  env: Record<string, string> = {},
): RunningChild {
  const child = spawn(process.execPath, [fileURLToPath(script), ...args], {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
  })
  const ended = once(child, 'close').then(
    ([code, signal]) => ({ code, signal, stdout, stderr }) as ChildResult,
  )
  async function line(start: string): Promise<string> {
    for (;;) {
      const found = stdout
        .split('\n')
        .slice(0, -1)
        .find(text => text.startsWith(start))
      if (found !== undefined) return found
      const event = await Promise.race([once(child.stdout, 'data'), ended])
      if ('code' in event && !stdout.includes(start)) throw new Error(`child ended: ${stdout}${stderr}`)
    }
  }
  return { process: child, line, ended }
}

/** Runs a script to its end. */
export function runChild(
  script: URL,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<ChildResult> {
  const child = startChild(script, args, env)
  child.process.stdin?.end()
  return child.ended
}
