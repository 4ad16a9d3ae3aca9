// What is wrong with a configuration, in luffy's words: the option, what it takes, and what came.
import type { z } from 'zod'
import { describeValue, nearestName } from '../options.js'

type Node = z.core.JSONSchema.BaseSchema

/** One line per mistake. `schema`: the JSON Schema of what is checked; `config`: what was given. */
export function mistakesOf(issues: readonly z.core.$ZodIssue[], config: unknown, schema: Node): string[] {
  // One value can break several rules; what it should be is said once.
  return [...new Set(issues.flatMap(issue => mistakeOf(issue, [], config, schema)))]
}

function mistakeOf(
  issue: z.core.$ZodIssue,
  parent: readonly PropertyKey[],
  config: unknown,
  schema: Node,
): string[] {
  const path = [...parent, ...issue.path]
  const name = path.join('.') || 'the configuration'
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(propertiesAt(schema, path))
    return issue.keys.map(key => {
      const where = path.length === 0 ? key : `${name}.${key}`
      const nearest = nearestName(key, known) ?? optionsNamed(key, schema).find(option => option !== where)
      return `unknown option "${where}"${nearest ? `, did you mean "${nearest}"?` : ''}`
    })
  }
  // Of several forms the one that was meant: a group whose members are wrong, not the group.
  const meant = issue.code === 'invalid_union' ? issue.errors.find(isAboutMembers) : undefined
  if (meant !== undefined) return meant.flatMap(each => mistakeOf(each, path, config, schema))
  const value = valueAt(config, path)
  const node = nodeAt(schema, path)
  const expected = issue.code === 'custom' ? issue.message.replace(/^expected /, '') : expectedOf(node)
  if (value === undefined && path.length > 0) return [`${name}: is missing, expected ${expected}`]
  return [`${name}: expected ${expected}, got ${describeValue(value)}${hintOf(name, node, value)}`]
}

function isAboutMembers(issues: readonly z.core.$ZodIssue[]): boolean {
  return issues.every(issue => issue.path.length > 0 || issue.code === 'unrecognized_keys')
}

function hintOf(name: string, node: Node, value: unknown): string {
  if (name === 'task.name') return '; a task of your own goes to train(config, { task })'
  const choices = node.enum?.filter(choice => typeof choice === 'string') ?? []
  const nearest = typeof value === 'string' ? nearestName(value, choices) : undefined
  return nearest === undefined ? '' : `, did you mean "${nearest}"?`
}

/** `a number from 0 to 1`, `one of "auto", "never"`. */
function expectedOf(node: Node): string {
  if (node.const !== undefined) return JSON.stringify(node.const)
  if (node.enum !== undefined) return `one of ${node.enum.map(choice => JSON.stringify(choice)).join(', ')}`
  const forms = node.anyOf ?? node.oneOf
  if (forms !== undefined) return forms.map(form => expectedOf(form as Node)).join(' or ')
  switch (node.type) {
    case 'boolean':
      return 'true or false'
    case 'integer':
      return `an integer${rangeOf(node)}`
    case 'number':
      return `a number${rangeOf(node)}`
    case 'array':
      return listOf(node)
    case 'object':
      return node.properties === undefined
        ? 'names and values'
        : `options (${Object.keys(node.properties).join(', ')})`
    default:
      return 'a text'
  }
}

function listOf({ prefixItems, items }: Node): string {
  const first = prefixItems?.[0] ?? (Array.isArray(items) ? items[0] : items)
  const each = first === undefined ? 'values' : expectedOf(first as Node)
  return prefixItems === undefined ? `a list, each ${each}` : `a list of ${prefixItems.length}, each ${each}`
}

function rangeOf({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Node): string {
  // zod's bounds of safe integers say nothing to a person.
  const said = (bound: unknown): bound is number =>
    typeof bound === 'number' && Math.abs(bound) < Number.MAX_SAFE_INTEGER
  const parts = [
    said(exclusiveMinimum) ? ` above ${exclusiveMinimum}` : said(minimum) ? ` from ${minimum}` : '',
    said(exclusiveMaximum) ? ` below ${exclusiveMaximum}` : said(maximum) ? ` to ${maximum}` : '',
  ]
  return parts.join('')
}

function nodeAt(schema: Node, path: readonly PropertyKey[]): Node {
  let node: Node = schema
  for (const key of path) {
    const forms = [node, ...((node.anyOf ?? []) as Node[])]
    const inner = forms.flatMap(form => {
      const list = form.prefixItems ?? (form.items === undefined ? undefined : [form.items])
      return (
        (typeof key === 'number'
          ? (list?.[key] ?? list?.[0])
          : (form.properties?.[String(key)] ?? form.additionalProperties)) ?? []
      )
    })[0]
    if (typeof inner !== 'object') return {}
    node = inner as Node
  }
  return node
}

// Options of that name in other groups, by their full names.
function optionsNamed(key: string, node: Node, prefix = ''): string[] {
  const forms = [node, ...((node.anyOf ?? []) as Node[])]
  return forms.flatMap(form =>
    Object.entries(form.properties ?? {}).flatMap(([name, inner]) => [
      ...(name === key ? [prefix + name] : []),
      ...optionsNamed(key, inner as Node, `${prefix}${name}.`),
    ]),
  )
}

function propertiesAt(schema: Node, path: readonly PropertyKey[]): Record<string, unknown> {
  const node = nodeAt(schema, path)
  return Object.assign({}, ...[node, ...((node.anyOf ?? []) as Node[])].map(form => form.properties ?? {}))
}

function valueAt(config: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => {
    const isGroup = typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    return isGroup ? (value as Record<PropertyKey, unknown>)[key] : undefined
  }, config)
}

/** The configuration without the options that are wrong, so that the others can be checked against each other. */
export function withoutMistakes(config: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const copy = copyOf(config)
  for (const { path, ...issue } of issues) {
    // A wrong element takes its list along, a wrong member of one of several forms its group.
    const names = path.findIndex(key => typeof key === 'number')
    const steps = names < 0 ? path : path.slice(0, names)
    const group =
      issue.code === 'unrecognized_keys' ? valueAt(copy, steps) : valueAt(copy, steps.slice(0, -1))
    if (typeof group !== 'object' || group === null) continue
    const keys = issue.code === 'unrecognized_keys' ? (issue as { keys: string[] }).keys : steps.slice(-1)
    for (const key of keys) delete (group as Record<PropertyKey, unknown>)[key]
  }
  return copy
}

// Groups and lists are copied; what else may stand in them is nobody's to copy.
function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyOf)
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, copyOf(inner)]))
}

/** The option that a line of `mistakesOf` is about. */
export function optionOf(mistake: string): string {
  return /^(?:unknown option "([^"]+)"|([\w.]+)\b)/.exec(mistake)?.slice(1).find(Boolean) ?? ''
}
