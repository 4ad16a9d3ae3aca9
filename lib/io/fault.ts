// Named points between the system calls of everything that is written to disk. With LUFFY_FAULT=name:n in the
// environment the process kills itself when it comes to the n-th passage of that point, as a power cut would; the
// tests walk through all of them. Without the variable a point costs one comparison.

const wanted = process.env.LUFFY_FAULT
const [wantedName, wantedPassage] =
  wanted === undefined ? [] : [wanted.split(':')[0], Number(wanted.split(':')[1] ?? 1)]
let passages = 0

/** Dies here if the environment asks for it. `LUFFY_FAULT=list` prints the name of every point passed instead. */
export function fault(name: string): void {
  if (wantedName === undefined) return
  if (wantedName === 'list') process.stdout.write(`fault ${name}\n`)
  if (name !== wantedName) return
  passages++
  if (passages === wantedPassage) process.kill(process.pid, 'SIGKILL')
}
