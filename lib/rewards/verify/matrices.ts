// Sums and products that hold matrices, worked out to one matrix of expressions; determinants of small ones.
import { limits } from './limits.js'
import { call, difference, integerNode, type Node, product, sum } from './tree.js'

type Matrix = Node & { kind: 'matrix' }

/** Largest determinant that is written out; a larger one stays a name. */
const mostWrittenOut = 4

/** The matrix that a tree is; undefined for a number, and for shapes that do not fit. */
export function matrixOf(node: Node): Matrix | undefined {
  if (node.kind === 'matrix') return node
  if (node.kind === 'mul')
    return node.args.map(matrixOrScalar).reduce<Part | undefined>(multiplied, { scalar: [] })?.matrix
  if (node.kind !== 'add') return undefined
  const [first, ...others] = node.args.map(matrixOf)
  return others.reduce((total, next) => total && next && added(total, next), first)
}

interface Part {
  scalar: readonly Node[]
  matrix?: Matrix
}

function matrixOrScalar(node: Node): Part {
  const matrix = matrixOf(node)
  return matrix ? { scalar: [], matrix } : { scalar: [node] }
}

function multiplied(left: Part | undefined, right: Part): Part | undefined {
  if (!left) return undefined
  const factors = [...left.scalar, ...right.scalar]
  if (!left.matrix || !right.matrix) {
    const matrix = left.matrix ?? right.matrix
    return matrix ? { scalar: [], matrix: scaled(matrix, factors) } : { scalar: factors }
  }
  const { rows } = left.matrix
  const { rows: others } = right.matrix
  const width = others[0]?.length ?? 0
  if (rows[0]?.length !== others.length || rows.length * width * others.length > limits.matrix ** 3)
    return undefined
  const cell = (row: readonly Node[], j: number) =>
    row.map((item, k) => product(item, others[k]?.[j] as Node)).reduce((total, next) => sum(total, next))
  return {
    scalar: [],
    matrix: { kind: 'matrix', rows: rows.map(row => Array.from({ length: width }, (_, j) => cell(row, j))) },
  }
}

function scaled(matrix: Matrix, factors: readonly Node[]): Matrix {
  if (factors.length === 0) return matrix
  const scale = (item: Node) => factors.reduceRight((total, factor) => product(factor, total), item)
  return { kind: 'matrix', rows: matrix.rows.map(row => row.map(scale)) }
}

function added(left: Matrix, right: Matrix): Matrix | undefined {
  if (left.rows.length !== right.rows.length || left.rows[0]?.length !== right.rows[0]?.length)
    return undefined
  return {
    kind: 'matrix',
    rows: left.rows.map((row, i) => row.map((item, j) => sum(item, right.rows[i]?.[j] as Node))),
  }
}

/** A determinant, by its first row; undefined for what is not square. */
export function determinant(matrix: Matrix): Node | undefined {
  const { rows } = matrix
  if (rows.length === 0 || rows.some(row => row.length !== rows.length)) return undefined
  return rows.length > mostWrittenOut ? call('det', matrix) : expanded(rows)
}

function expanded(rows: readonly (readonly Node[])[]): Node {
  const [first = [], ...others] = rows
  if (first.length === 1) return first[0] as Node
  const minor = (j: number) => expanded(others.map(row => row.filter((_, k) => k !== j)))
  return first
    .map((item, j) => product(item, minor(j)))
    .reduce(
      (total, next, j) => (j === 0 ? next : j % 2 === 1 ? difference(total, next) : sum(total, next)),
      integerNode(0),
    )
}
