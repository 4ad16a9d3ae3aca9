// The configuration file of `luffy train`: YAML or JSON, with overrides from the command line.
import { type Document, isAlias, LineCounter, parse, parseDocument, visit } from 'yaml'
import { ConfigError, LuffyError } from '../errors.js'
import { readRegularFile } from '../io/regular-file.js'
import { isForbiddenName } from '../options.js'
import { aliasTarget } from '../training/config-aliases.js'
import { optionOf } from '../training/config-mistakes.js'
import {
  type ReadTrainConfig,
  readTrainConfig,
  type TrainOption,
  trainConfigOptions,
} from '../training/train-config.js'
import { yamlFault } from './yaml-fault.js'

const mostBytes = 2 ** 20

/**
 * Reads a configuration, applies `key=value` overrides (`objective.entropyCoef=0.003`) and fills in every default; with
 * the lines that the user is told once.
 *
 * @throws {ConfigError} naming the file, the line where there is one, and every mistake
 */
export async function loadTrainConfig(
  path: string,
  overrides: readonly string[] = [],
): Promise<ReadTrainConfig> {
  const text = (await readRegularFile(path, mostBytes, { error: ConfigError })).toString('utf8')
  const config = parseConfig(text, path)
  for (const override of overrides) applyOverride(config, override)
  try {
    return readTrainConfig(config)
  } catch (error) {
    if (!LuffyError.isInstance(error) || !Array.isArray(error.details?.mistakes)) throw error
    throw new ConfigError(blamed(error.details.mistakes, overrides, path), { path, details: error.details })
  }
}

/** Each mistake behind what it came from: an override of the command line, or the file. */
function blamed(mistakes: readonly string[], overrides: readonly string[], path: string): string {
  const groups = new Map<string, string[]>()
  for (const mistake of mistakes) {
    const option = optionOf(mistake)
    const namesIn = (text: string) => {
      const name = text.slice(0, text.indexOf('='))
      return [name, aliasTarget(name) ?? name]
    }
    const override = overrides.findLast(text =>
      namesIn(text).some(name => option === name || option.startsWith(`${name}.`)),
    )
    const source = override === undefined ? path : `--set ${override}`
    // `--set topP=2: topP: expected ...` says the name twice.
    const text =
      override === undefined || !namesIn(override).includes(option)
        ? mistake
        : mistake.replace(`${option}: `, '')
    groups.set(source, [...(groups.get(source) ?? []), text])
  }
  return [...groups].map(([source, texts]) => `${source}: ${texts.join('; ')}`).join('; ')
}

/** YAML (of which JSON is a part) as plain objects: one document, no tags, no key twice, no prototype. */
export function parseConfig(text: string, path: string): Record<string, unknown> {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false, uniqueKeys: true })
  const fault = document.errors[0] ?? document.warnings[0]
  if (fault !== undefined) {
    const { line, col } = lineCounter.linePos(fault.pos[0])
    throw new ConfigError(`${path}:${line}:${col}: ${yamlFault(fault, text, fault.pos[0])}`, {
      path,
      details: { line, column: col },
    })
  }
  refuseAliases(document, path, lineCounter)
  const value = plain(document.toJS({ mapAsMap: true }), path)
  if (value === null) throw new ConfigError(`${path}: is empty, expected options`, { path })
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError(`${path}: expected names and values, got ${JSON.stringify(value)}`, { path })
  }
  return value as Record<string, unknown>
}

// A few lines of nested aliases stand for millions of values; a configuration needs none.
function refuseAliases(document: Document, path: string, lineCounter: LineCounter): void {
  visit(document, {
    Node(_, node) {
      if (!isAlias(node)) return
      const { line, col } = lineCounter.linePos(node.range?.[0] ?? 0)
      throw new ConfigError(
        `${path}:${line}:${col}: aliases (*${node.source}) are not allowed; write the value out`,
        { path, details: { line, column: col } },
      )
    },
  })
}

function plain(value: unknown, where: string): unknown {
  if (Array.isArray(value)) return value.map((item, i) => plain(item, `${where}[${i}]`))
  if (!(value instanceof Map)) return value
  const object: Record<string, unknown> = {}
  for (const [name, inner] of value) {
    if (typeof name !== 'string' || isForbiddenName(name)) {
      throw new ConfigError(`${where}: the name ${JSON.stringify(name)} is not allowed`)
    }
    object[name] = plain(inner, `${where}: ${name}`)
  }
  return object
}

/** Sets one option by its dotted name; its value is read as the type that the option has. */
export function applyOverride(config: Record<string, unknown>, override: string): void {
  const at = override.indexOf('=')
  const names = override.slice(0, Math.max(0, at)).split('.')
  if (names.some(name => name === '' || isForbiddenName(name))) {
    throw new ConfigError(`--set ${override}: expected key=value, such as objective.entropyCoef=0.003`)
  }
  const wanted = names.join('.')
  const options = trainConfigOptions()
  const option =
    options.find(({ name }) => name === wanted) ?? options.find(({ name }) => name === aliasTarget(wanted))
  let target = config
  for (const name of names.slice(0, -1)) {
    if (!Object.hasOwn(target, name)) target[name] = {}
    const inner = target[name]
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) {
      throw new ConfigError(`--set ${override}: ${name} is not a group of options`)
    }
    target = inner as Record<string, unknown>
  }
  target[names.at(-1) as string] = typedValue(override.slice(at + 1), option, override)
}

// Text for an option of text (`runName=7` is a name), else what YAML makes of it.
function typedValue(text: string, option: TrainOption | undefined, override: string): unknown {
  if (option?.type === 'string') return text
  try {
    return plain(parse(text, { mapAsMap: true, maxAliasCount: 0 }), `--set ${override}`)
  } catch (error) {
    if (LuffyError.isInstance(error)) throw error
    const { code, message, pos } = error as { code?: string; message: string; pos?: [number, number] }
    const problem = yamlFault({ code: code ?? '', message }, text, pos?.[0] ?? 0)
    throw new ConfigError(`--set ${override}: ${problem}`, { cause: error })
  }
}
