// Aligned text tables.
import { padded, textWidth } from './text.js'

export interface TableColumn {
  header: string
  /** right suits numbers (the default from the second column on). */
  align?: 'left' | 'right'
}

export interface TableOptions {
  /** unicode: lines; ascii: dashes and bars; markdown: a Markdown table. */
  style: 'unicode' | 'ascii' | 'markdown'
  /** Row numbers (from 0) before which a line is drawn; none in Markdown. */
  linesBefore?: readonly number[]
}

const STYLES = {
  unicode: { between: ' │ ', line: '─', cross: '─┼─' },
  ascii: { between: ' | ', line: '-', cross: '-+-' },
} as const

/**
 * A table as text, one line per row, ending without a line break. Rows may be shorter than the header; longer ones are
 * a RangeError. Cells may hold colour codes, and no line breaks.
 */
export function formatTable(
  columns: readonly (string | TableColumn)[],
  rows: readonly (readonly string[])[],
  options: TableOptions,
): string {
  const named = columns.map((column, c) => {
    const given: TableColumn = typeof column === 'string' ? { header: column } : column
    return { header: given.header, align: given.align ?? (c === 0 ? ('left' as const) : ('right' as const)) }
  })
  for (const [r, row] of rows.entries()) {
    if (row.length > named.length) {
      throw new RangeError(`rows[${r}]: expected at most ${named.length} cells, got ${row.length}`)
    }
  }
  const markdown = options.style === 'markdown'
  const cells = rows.map(row => named.map((_, c) => (markdown ? escapeBars(row[c] ?? '') : (row[c] ?? ''))))
  const widths = named.map((column, c) =>
    Math.max(markdown ? 3 : 1, textWidth(column.header), ...cells.map(row => textWidth(row[c] as string))),
  )
  const lineOf = (row: readonly string[]) =>
    row.map((cell, c) => padded(cell, widths[c] as number, named[c]?.align))
  const headers = lineOf(named.map(column => column.header))
  if (options.style === 'markdown') {
    const rule = named.map(({ align }, c) => {
      const dashes = '-'.repeat((widths[c] as number) - (align === 'right' ? 1 : 0))
      return align === 'right' ? `${dashes}:` : dashes
    })
    return [headers, rule, ...cells.map(lineOf)].map(row => `| ${row.join(' | ')} |`).join('\n')
  }
  const style = STYLES[options.style]
  const rule = widths.map(width => style.line.repeat(width)).join(style.cross)
  const lines = [headers.join(style.between).trimEnd(), rule]
  for (const [r, row] of cells.entries()) {
    if (options.linesBefore?.includes(r)) lines.push(rule)
    lines.push(lineOf(row).join(style.between).trimEnd())
  }
  return lines.join('\n')
}

function escapeBars(cell: string): string {
  return cell.replaceAll('|', '\\|')
}
