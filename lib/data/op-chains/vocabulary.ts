// The characters of the op chains task, one token each.
import { CharacterTokenizer } from '../../policy/tokenizer-simple.js'

/** 32 characters: `$` ends a response, `<` and `>` open and close the thinking. */
export const VOCABULARY = '$0123456789rslidczpomae=<>;+w,?-'

export const END = '$'
export const THINK_OPEN = '<'
export const THINK_CLOSE = '>'

/** The tokenizer of the task: 32 ids, `$` = 0. */
export function opChainsTokenizer(): CharacterTokenizer {
  return new CharacterTokenizer(VOCABULARY, END)
}
