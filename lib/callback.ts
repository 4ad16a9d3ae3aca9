// How functions of the caller (onProgress, onEvent, onStep, onWarning) are called. One rule: the call waits for a promise
// that they return, and what they throw or reject with ends the call, which cleans up and rejects with that error.

/** Tells a caller's function of an event and waits for it. */
export async function tell<Event>(
  callback: ((event: Event) => unknown) | undefined,
  event: Event,
): Promise<void> {
  if (callback === undefined) return
  const told = callback(event)
  if (isThenable(told)) await told
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}
