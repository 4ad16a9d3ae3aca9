// Supervised fine-tuning: cross-entropy on the demonstrations, mean over tokens.
import type { Method } from './method.js'

export const sft: Method = {
  name: 'sft',
  onPolicy: false,
  demonstrations: true,
  demonstrationTokens: 'supervised',
  advantages: {},
  objective: { shaping: { kind: 'none' }, reduction: { kind: 'token-mean' } },
  minimizes: '-log p on demonstrations; mean over tokens',
}
