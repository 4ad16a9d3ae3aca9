// Whether an answer is the reference answer. Not symmetric: the reference decides in which form it must be given.
import { equalRelations } from './compare-relations.js'
import { equalSets, solutionSet } from './compare-sets.js'
import { equalValues } from './equal-values.js'
import { isAssignment, isEquation, isRelation, lastRelation, relationsOf } from './relations.js'
import { isSet, keyOf, type Node, symbolsOf } from './tree.js'

/** True where the answer's tree equals the reference's. */
export function equalTrees(gold: Node, answer: Node, strict: boolean): boolean {
  const goldAssigns = isAssignment(gold)
  const goldEquates = isEquation(gold)
  const answerEquates = isEquation(answer)
  gold = shortened(gold)
  answer = shortened(answer)
  // An equation given for a value is read as its right side; a reference x = 5 is also met by 5.
  // Strictly, only where its left side is a name: 2x = 5 is not 5.
  const readsRight = answerEquates && (!strict || isAssignment(answer))
  if (readsRight && !goldEquates && isRelation(answer)) answer = lastRelation(answer).right
  else if (goldAssigns && !answerEquates && isRelation(gold)) gold = lastRelation(gold).right
  if (isRelation(gold) && isSet(answer)) {
    // Without a symbol, every number is a solution, or none.
    if (symbolsOf(gold).size === 0) return false
    gold = solutionSet(gold) ?? gold
  }
  if (gold.kind === 'undefined' || (gold.kind === 'infinity' && gold.sign === 0)) return false
  if (keyOf(gold) === keyOf(answer)) return true
  if (isRelation(gold) && isRelation(answer)) return equalRelations(gold, answer)
  if (isCollection(gold) || isCollection(answer))
    return equalSets(gold, answer, (a, b) => equalTrees(a, b, strict))
  if (isRelation(gold) || isRelation(answer)) return false
  if (gold.kind === 'symbol' || answer.kind === 'symbol') return equalNames(gold, answer)
  return equalValues(gold, answer, strict)
}

function isCollection(node: Node): boolean {
  return isSet(node) || node.kind === 'tuple'
}

// Of a chain x = a = b, only x = b.
function shortened(node: Node): Node {
  if (node.kind !== 'and' || !isAssignment(node)) return node
  const [first] = relationsOf(node)
  return { kind: 'relation', operator: '=', left: first?.left as Node, right: lastRelation(node).right }
}

// Bare symbols match by name, or by the letters of a product: `\text{cab}` and c a b.
function equalNames(gold: Node, answer: Node): boolean {
  const [a, b] = [spelled(gold), spelled(answer)]
  return a !== undefined && a === b
}

function spelled(node: Node): string | undefined {
  if (node.kind === 'symbol') return node.name.toLowerCase()
  if (node.kind === 'constant' && node.name === 'e') return 'e'
  // A word of digits, `\text{13}`, matches the number that is printed so.
  if (node.kind === 'number')
    return node.value.d === 1n ? `${node.value.n}` : `${node.value.n}/${node.value.d}`
  if (node.kind === 'float') return node.value.n === 0n ? '0.0' : undefined
  if (node.kind !== 'mul') return undefined
  const letters = node.args.map(arg =>
    arg.kind === 'symbol' || (arg.kind === 'constant' && arg.name === 'e') ? spelled(arg) : undefined,
  )
  return letters.every(letter => letter !== undefined) ? letters.join('') : undefined
}
