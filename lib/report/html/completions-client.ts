// What runs in the reader's browser: it shows one group of completions at a time. Its compiled text goes into the page as
// it is, so it uses nothing from outside of the function. Foreign text only ever goes through textContent and title.
import type { ShownGroup, ShownMember, ShownRun } from './read-completions.js'

/** As much of the browser as is used. */
interface BrowserElement {
  textContent: string | null
  className: string
  title: string
  value: string
  max: string
  hidden: boolean
  disabled: boolean
  append(...children: (BrowserElement | string)[]): void
  replaceChildren(...children: BrowserElement[]): void
  addEventListener(type: string, listener: () => void): void
}

declare const document: {
  getElementById(id: string): BrowserElement | null
  createElement(name: string): BrowserElement
}

export function completionsClient(): void {
  const at = (id: string) => document.getElementById(id) as BrowserElement
  const runs = JSON.parse(at('completions-data').textContent ?? '[]') as ShownRun[]
  const [run, step, outcome, colour, group] = ['run', 'step', 'outcome', 'colour', 'group'].map(at) as [
    BrowserElement,
    BrowserElement,
    BrowserElement,
    BrowserElement,
    BrowserElement,
  ]

  const element = (name: string, className: string, text: string) => {
    const made = document.createElement(name)
    made.className = className
    made.textContent = text
    return made
  }
  const signed = (value: number) => `${value > 0 ? '+' : ''}${Number(value.toPrecision(3))}`

  const tokenClass = (surprise: number | undefined) => {
    if (surprise === undefined) return ''
    const p = Math.exp(-surprise / 100)
    return p >= 0.9 ? 'p0' : p >= 0.5 ? 'p1' : p >= 0.1 ? 'p2' : p >= 0.01 ? 'p3' : 'p4'
  }
  const memberClass = (advantage: number | null) => {
    if (advantage === null || advantage === 0) return 'a0'
    return `${advantage > 0 ? 'gain' : 'loss'}${Math.abs(advantage) >= 0.5 ? '2' : '1'}`
  }

  const bodyOf = (member: ShownMember) => {
    const body = element('pre', 'text', '')
    body.title = ''
    const byAdvantage = colour.value === 'advantage'
    if (member.lengths.length === 0 || byAdvantage) {
      const all = element('span', byAdvantage ? memberClass(member.advantage) : '', member.text)
      body.append(all)
    } else {
      let start = 0
      member.lengths.forEach((length, i) => {
        const surprise = member.surprise[i]
        const token = element('span', tokenClass(surprise), member.text.slice(start, start + length))
        if (surprise !== undefined) token.title = `p ${Math.exp(-surprise / 100).toPrecision(2)}`
        body.append(token)
        start += length
      })
    }
    if (member.cut > 0) body.append(element('span', 'left-out', ` [${member.cut} characters left out]`))
    return body
  }

  const cardOf = (member: ShownMember, number: number) => {
    const card = element('article', member.demonstration ? 'member shown' : 'member', '')
    const facts = [
      member.demonstration ? 'demonstration' : `sample ${number}`,
      `reward ${member.reward === null ? '-' : Number(member.reward.toPrecision(3))}`,
      `advantage ${member.advantage === null ? '-' : signed(member.advantage)}`,
      ...(member.tokens > 0 ? [`${member.tokens} tokens`] : []),
      ...(member.end === '' || member.demonstration ? [] : [member.end]),
      ...(member.reason === '' ? [] : [member.reason]),
    ]
    const right = member.reward !== null && member.reward >= 1
    const head = element('p', 'facts', '')
    head.append(element('b', right ? 'right' : 'wrong', right ? '✓ ' : '✗ '), facts.join(' · '))
    card.append(head, bodyOf(member))
    return card
  }

  const groupsHere = (): readonly ShownGroup[] => {
    const groups = runs[Number(run.value)]?.steps[Number(step.value)]?.groups ?? []
    return groups.filter(each => outcome.value === 'all' || each.outcome === outcome.value)
  }

  const show = () => {
    const shownRun = runs[Number(run.value)]
    const shownStep = shownRun?.steps[Number(step.value)]
    const groups = groupsHere()
    const last = Math.max(0, groups.length - 1)
    if (Number(group.value) > last) group.value = String(last)
    group.max = String(last)
    at('step-name').textContent = `step ${shownStep?.step ?? '-'}`
    const index = Number(group.value)
    at('group-name').textContent = groups.length === 0 ? 'no group' : `group ${index + 1} of ${groups.length}`
    at('previous').disabled = index <= 0
    at('next').disabled = index >= last
    at('left-out').textContent =
      shownRun === undefined || shownStep === undefined
        ? ''
        : `In this page: ${shownRun.steps.length} of ${shownRun.of} steps of this run, ${shownStep.groups.length} of ${shownStep.of} groups of this step. All of them: completions/ in the run folder.`
    const chosen = groups[index]
    if (chosen === undefined) {
      at('shown-group').replaceChildren(element('p', 'facts', 'No such group in this step.'))
      return
    }
    let samples = 0
    const head = element('p', 'facts', `${chosen.outcome} · prompt`)
    const cards = chosen.members.map(member => {
      if (!member.demonstration) samples += 1
      return cardOf(member, samples)
    })
    at('shown-group').replaceChildren(head, element('pre', 'text prompt', chosen.prompt), ...cards)
  }

  const reset = () => {
    const count = runs[Number(run.value)]?.steps.length ?? 1
    step.max = String(Math.max(0, count - 1))
    step.value = step.max
    group.value = '0'
    show()
  }
  const turn = (by: number) => () => {
    group.value = String(Math.max(0, Number(group.value) + by))
    show()
  }
  run.addEventListener('change', reset)
  for (const control of [step, outcome]) {
    control.addEventListener('input', () => {
      group.value = '0'
      show()
    })
  }
  colour.addEventListener('input', show)
  group.addEventListener('input', show)
  at('previous').addEventListener('click', turn(-1))
  at('next').addEventListener('click', turn(1))
  at('viewer').hidden = false
  reset()
}
