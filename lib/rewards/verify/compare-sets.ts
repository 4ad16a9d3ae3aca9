// Sets, intervals and tuples. A set gold takes its elements in any order, a tuple gold in its own.
import { equalAtPoints } from './equal-values.js'
import { exactValue } from './exact.js'
import { limits } from './limits.js'
import { constantOf, orderOf } from './order.js'
import { equal } from './rational.js'
import { isAssignment, isRelation, lastRelation, relationsOf } from './relations.js'
import { keyOf, type Node, type Relation, symbolsOf } from './tree.js'

export type Equal = (gold: Node, answer: Node) => boolean

export function equalSets(gold: Node, answer: Node, equalTo: Equal): boolean {
  const ours = asCollection(gold)
  const theirs = asCollection(answer)
  if (ours.kind === 'interval' && theirs.kind === 'interval') {
    return (
      ours.startOpen === theirs.startOpen &&
      ours.endOpen === theirs.endOpen &&
      equalTo(ours.start, theirs.start) &&
      equalTo(ours.end, theirs.end)
    )
  }
  if (keyOf(ours) === keyOf(theirs)) return true
  if (sameRealSet(ours, theirs)) return true
  if (isItems(ours) && isItems(theirs)) return sameElements(ours, theirs) || equalItems(ours, theirs, equalTo)
  // An open interval is written like a pair.
  if (ours.kind === 'interval' && isItems(theirs)) {
    const pair = asPair(ours)
    return pair !== undefined && theirs.args.length === 2 && equalItems(pair, theirs, equalTo)
  }
  if (theirs.kind === 'interval' && isItems(ours)) {
    const pair = asPair(theirs)
    return pair !== undefined && ours.args.length === 2 && equalItems(ours, pair, equalTo)
  }
  return false
}

/** Sets up to this size are also compared as sets of values, each with each. */
const mostExactItems = 24

type Items = Node & { kind: 'set' | 'tuple' }

function isItems(node: Node): node is Items {
  return node.kind === 'set' || node.kind === 'tuple'
}

const collections = ['set', 'tuple', 'interval', 'union', 'intersection', 'complement', 'namedSet']

function asCollection(node: Node): Node {
  return collections.includes(node.kind) ? node : { kind: 'set', args: [node], written: [node] }
}

function asPair(node: Node & { kind: 'interval' }): Items | undefined {
  return node.startOpen && node.endOpen ? { kind: 'tuple', args: [node.start, node.end] } : undefined
}

// Sets with exactly the same values, however often and in whatever form each is written.
function sameElements(gold: Items, answer: Items): boolean {
  if (gold.kind !== 'set' || answer.kind !== 'set') return false
  const within = (some: readonly Node[], all: readonly Node[]) =>
    some.every(item => all.some(other => exactlyEqual(item, other)))
  const few = gold.args.length + answer.args.length <= mostExactItems
  return few && within(gold.args, answer.args) && within(answer.args, gold.args)
}

function exactlyEqual(a: Node, b: Node): boolean {
  const [x, y] = [exactValue(a), exactValue(b)]
  if (x && y) return equal(x, y)
  if (keyOf(a) === keyOf(b)) return true
  const plain = (node: Node) => !isRelation(node) && !collections.includes(node.kind)
  const symbolic = symbolsOf(a).size + symbolsOf(b).size > 0
  return symbolic && plain(a) && plain(b) && equalAtPoints(a, b, true)
}

function equalItems(gold: Items, answer: Items, equalTo: Equal): boolean {
  if (gold.args.length !== answer.args.length || gold.args.length > limits.items) return false
  if (gold.kind === 'set') return equalInAnyOrder(gold.args, answer.args, equalTo)
  const theirs = answer.kind === 'set' ? answer.written : answer.args
  return theirs.length === gold.args.length && gold.args.every((item, i) => equalTo(item, theirs[i] as Node))
}

// Numbers pair up in their order; whatever else there is, with the first that is equal and still free.
function equalInAnyOrder(gold: readonly Node[], answer: readonly Node[], equalTo: Equal): boolean {
  const ours = sorted(gold)
  const theirs = sorted(answer)
  if (ours && theirs) return ours.every((item, i) => equalTo(item, theirs[i] as Node))
  const free = [...answer]
  return gold.every(item => {
    const found = free.findIndex(other => equalTo(item, other))
    if (found >= 0) free.splice(found, 1)
    return found >= 0
  })
}

function sorted(items: readonly Node[]): Node[] | undefined {
  const values = items.map(item => ({ item, value: constantOf(rightSide(item)) }))
  if (values.some(({ value }) => value === undefined)) return undefined
  return values.sort((a, b) => (a.value as number) - (b.value as number)).map(({ item }) => item)
}

function rightSide(node: Node): Node {
  return isRelation(node) && isAssignment(node) ? lastRelation(node).right : node
}

// A set of real numbers as stretches from one bound to the next, where it can be written so.
interface Stretch {
  start: Node
  end: Node
  startOpen: boolean
  endOpen: boolean
}

function sameRealSet(gold: Node, answer: Node): boolean {
  if (![gold, answer].some(node => ['union', 'intersection', 'complement', 'namedSet'].includes(node.kind)))
    return false
  const ours = stretchesOf(gold)
  const theirs = stretchesOf(answer)
  if (!ours || !theirs || ours.length !== theirs.length) return false
  return ours.every((stretch, i) => {
    const other = theirs[i] as Stretch
    return (
      stretch.startOpen === other.startOpen &&
      stretch.endOpen === other.endOpen &&
      orderOf(stretch.start, other.start) === 0 &&
      orderOf(stretch.end, other.end) === 0
    )
  })
}

const below: Node = { kind: 'infinity', sign: -1 }
const above: Node = { kind: 'infinity', sign: 1 }

function stretchesOf(node: Node): Stretch[] | undefined {
  switch (node.kind) {
    case 'interval':
      return [node]
    case 'set':
      return merged(node.args.map(item => ({ start: item, end: item, startOpen: false, endOpen: false })))
    case 'namedSet':
      if (node.name === 'empty') return []
      return node.name === 'reals'
        ? [{ start: below, end: above, startOpen: true, endOpen: true }]
        : undefined
    case 'union': {
      const left = stretchesOf(node.left)
      const right = left && stretchesOf(node.right)
      return left && right && merged([...left, ...right])
    }
    case 'intersection': {
      const left = stretchesOf(node.left)
      const right = left && stretchesOf(node.right)
      const outside = left && right && without(left)
      const others = outside && right && without(right)
      return outside && others && unionWithout(outside, others)
    }
    case 'complement': {
      const left = stretchesOf(node.left)
      const outside = left && without(left)
      const right = outside && stretchesOf(node.right)
      return outside && right && unionWithout(outside, right)
    }
    default:
      return undefined
  }
}

function unionWithout(a: readonly Stretch[], b: readonly Stretch[]): Stretch[] | undefined {
  const all = merged([...a, ...b])
  return all && without(all)
}

// Sorted, with those that touch made one; undefined where two bounds cannot be compared.
function merged(stretches: readonly Stretch[]): Stretch[] | undefined {
  if (stretches.length > limits.items) return undefined
  if (stretches.some(({ start, end }) => constantOf(start) === undefined || constantOf(end) === undefined))
    return undefined
  const order = (a: Node, b: Node) => orderOf(a, b) ?? 0
  const inOrder = [...stretches].sort(
    (a, b) => order(a.start, b.start) || Number(a.startOpen) - Number(b.startOpen),
  )
  const done: Stretch[] = []
  for (const next of inOrder) {
    const last = done.at(-1)
    const gap = last ? order(next.start, last.end) : 1
    if (!last || gap > 0 || (gap === 0 && last.endOpen && next.startOpen)) {
      done.push({ ...next })
      continue
    }
    const longer = order(next.end, last.end)
    if (longer > 0) [last.end, last.endOpen] = [next.end, next.endOpen]
    else if (longer === 0) last.endOpen &&= next.endOpen
  }
  return done
}

// All real numbers but these.
function without(stretches: readonly Stretch[]): Stretch[] {
  const done: Stretch[] = []
  let start: Node = below
  let startOpen = true
  for (const stretch of stretches) {
    const space = orderOf(stretch.start, start) ?? 0
    const infinite = stretch.start.kind === 'infinity'
    if (space > 0 || (space === 0 && !startOpen && stretch.startOpen && !infinite))
      done.push({ start, startOpen, end: stretch.start, endOpen: !stretch.startOpen })
    start = stretch.end
    startOpen = !stretch.endOpen
  }
  if (start.kind !== 'infinity' || start.sign < 0) done.push({ start, startOpen, end: above, endOpen: true })
  return done
}

/** A relation in one symbol as the set of numbers that satisfy it, where the symbol stands alone on one side. */
export function solutionSet(node: Relation | (Node & { kind: 'and' })): Node | undefined {
  let set: Node | undefined
  let name: string | undefined
  for (const relation of relationsOf(node)) {
    const part = halfLine(relation)
    if (!part || (name !== undefined && name !== part.name)) return undefined
    name = part.name
    set = set ? { kind: 'intersection', left: set, right: part.set } : part.set
  }
  const stretches = set && stretchesOf(set)
  if (stretches?.length !== 1) return set
  const [only] = stretches as [Stretch]
  return { kind: 'interval', ...only }
}

function halfLine({ operator, left, right }: Relation): { name: string; set: Node } | undefined {
  const variable = symbolName(left)
  const [bound, forward] = variable === undefined ? [left, false] : [right, true]
  const name = variable ?? symbolName(right)
  if (name === undefined || constantOf(bound) === undefined) return undefined
  const open = operator === '<' || operator === '>'
  const lower = operator.startsWith('>') === forward
  if (operator === '=') return { name, set: { kind: 'set', args: [bound], written: [bound] } }
  if (operator === '!=') {
    const point: Node = { kind: 'set', args: [bound], written: [bound] }
    return { name, set: { kind: 'complement', left: { kind: 'namedSet', name: 'reals' }, right: point } }
  }
  return {
    name,
    set: lower
      ? { kind: 'interval', start: bound, end: above, startOpen: open, endOpen: true }
      : { kind: 'interval', start: below, end: bound, startOpen: true, endOpen: open },
  }
}

function symbolName(node: Node): string | undefined {
  return node.kind === 'symbol' || node.kind === 'unknownCall' ? keyOf(node) : undefined
}
