// Debian's chromium over its debugging pipe: messages of JSON, each ended by a zero byte.
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

/** The path of chromium, or undefined where there is none; LUFFY_CHROMIUM names another one. */
export function findChromium(): string | undefined {
  if (process.env.LUFFY_CHROMIUM) return process.env.LUFFY_CHROMIUM
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
      try {
        accessSync(join(folder, name), constants.X_OK)
        return join(folder, name)
      } catch {}
    }
  }
  return undefined
}

interface Message {
  id?: number
  method?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: { message: string }
}

export class Browser {
  /** Every event of the page since it was opened. */
  readonly events: Message[] = []
  readonly #child: ChildProcess
  readonly #profile: string
  readonly #waiting = new Map<number, (message: Message) => void>()
  #next = 1
  #session: string | undefined

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child
    this.#profile = profile
    child.setMaxListeners(0)
    let rest = ''
    ;(child.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\0')
      rest = parts.pop() ?? ''
      for (const part of parts) this.#receive(JSON.parse(part) as Message)
    })
  }

  static async launch(path: string): Promise<Browser> {
    const profile = await mkdtemp(join(tmpdir(), 'luffy-chromium-'))
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--remote-debugging-pipe']
    const child = spawn(path, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    const browser = new Browser(child, profile)
    const { targetInfos } = (await browser.send('Target.getTargets')) as {
      targetInfos: { targetId: string; type: string }[]
    }
    const page = targetInfos.find(target => target.type === 'page')
    const { sessionId } = await browser.send('Target.attachToTarget', {
      targetId: page?.targetId,
      flatten: true,
    })
    browser.#session = sessionId as string
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await browser.send(`${domain}.enable`)
    return browser
  }

  #receive(message: Message): void {
    if (message.id === undefined) this.events.push(message)
    else this.#waiting.get(message.id)?.(message)
  }

  async send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = this.#next++
    const answer = new Promise<Message>((resolve, reject) => {
      this.#waiting.set(id, resolve)
      this.#child.once('exit', () => reject(new Error(`chromium ended during ${method}`)))
    })
    const message = { id, method, params, ...(this.#session ? { sessionId: this.#session } : {}) }
    ;(this.#child.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`)
    const { result, error } = await answer
    this.#waiting.delete(id)
    if (error) throw new Error(`${method}: ${error.message}`)
    return result ?? {}
  }

  /** Opens a page in a window of this width and waits until it is loaded. */
  async open(url: string, options: { width: number; dark?: boolean; scripts?: boolean }): Promise<void> {
    this.events.length = 0
    const { width, dark = false, scripts = true } = options
    await this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height: 900,
      deviceScaleFactor: 1,
      mobile: false,
    })
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]
    await this.send('Emulation.setEmulatedMedia', { features })
    await this.send('Emulation.setScriptExecutionDisabled', { value: !scripts })
    await this.send('Page.navigate', { url })
    for (let i = 0; i < 1500 && !this.events.some(({ method }) => method === 'Page.loadEventFired'); i++) {
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }

  /** The value of an expression in the page, outside of its content security policy. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })) as { result: { value: T }; exceptionDetails?: { text: string; exception?: { description?: string } } }
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    return result.value
  }

  /** A picture of the page between two heights, as PNG. */
  async screenshot(options: { from?: number; height: number; width: number }): Promise<Buffer> {
    const clip = { x: 0, y: options.from ?? 0, width: options.width, height: options.height, scale: 1 }
    const { data } = await this.send('Page.captureScreenshot', { clip, captureBeyondViewport: true })
    return Buffer.from(data as string, 'base64')
  }

  async close(): Promise<void> {
    const ended = new Promise(resolve => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 })
  }
}
