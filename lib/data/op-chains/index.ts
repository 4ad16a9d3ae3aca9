// Op chains: a task of 32 characters on which a small policy shows what demonstrations add to its own samples.
// A prompt is a state of digits and operations (`5387rizi=`); the answer is the state after them (`9853`).
export * from './demonstrations.js'
export * from './operations.js'
export * from './pretraining.js'
export * from './problems.js'
export * from './sets.js'
export * from './vocabulary.js'
