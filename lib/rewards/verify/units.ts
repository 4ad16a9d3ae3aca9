// Units at the end of an answer, which Math-Verify removes: `5 cm`, `12\text{ apples}^2`.

// A dot stands for any character.
const unitWords = (
  'integerpoint|feet|sue|digit|pound|meal|edge|student|children ticket|multiple|east|degree|mph|kmph|ft|m square| m east|' +
  'sq m|deg|mile|q .|monkey|prime|ratio|profit of rs|rd|o|gm|p . m|lb|tile|per|dm|lt|gain|ab|way|west|a .|b .|c .|' +
  'd .|e .|f .|g .|h .|t|h|no change|men|soldier|pie|bc|excess|st|inches|noon|cent|by|gal|kmh|c|acre|rise|a . m|th|' +
  'π r 2|sq|mark|l|toy|coin|sq . m|gallon|° f|profit|minw|yr|women|am|pm|hr|cu cm|square|v â € ™|are|rupee|rounds|' +
  'cubic|cc|mtr|s|ohm|number|day|hour|minute|min|second|man|woman|sec|cube|mt|sq inch|mp|∏ cm ³|hectare|more|unit|' +
  'cu . m|cm 2|rs .|rs|kg|g|month|km|m|cm|mm|apple|liter|loss|yard|pure|year|increase|decrease|d|less|Surface|litre|' +
  'pi sq m|s .|metre|meter|inch'
).split('|')

const lastUnit = new RegExp(`([\\d}\\s])\\s*(?:${unitWords.join('|')})(?:s|es)?\\s*$`)
/** Longer than any unit with the spaces around it. */
const tailLength = 120

const lastText = /\\(?:text|mbox)\{/

/** The text without the units at its end; itself where nothing else would be left. */
export function withoutUnits(text: string, strict: boolean): string {
  text = withoutLastText(text, strict).trim() || text
  for (let round = 0; round < 2; ++round) {
    const cut = Math.max(0, text.length - tailLength)
    const shorter = text.slice(0, cut) + text.slice(cut).replace(lastUnit, '$1')
    if (shorter !== '') text = shorter
  }
  return text
}

// From the first `\text{`, if the text ends with a brace, or with one and a power.
function withoutLastText(text: string, strict: boolean): string {
  const start = text.search(lastText)
  if (start < 0 || !/\}(?:\^\d|\{\^\d\})?$/.test(text)) return text
  // A brace must close behind the one that opens.
  const shorter = text.slice(0, start).trim()
  // What says more than a unit is part of the answer.
  const said = text
    .slice(start)
    .replace(lastText, '')
    .replace(/\^\{?\d\}?/g, '')
  if (strict && /[\d\\]|\b(?:or|and)\b/.test(said)) return text
  return shorter === '' ? text : shorter
}
