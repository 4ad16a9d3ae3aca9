// Loads the policy in the folder that its argument names, and lets the error go. See start-of-run.test.ts.
import { Policy } from '../../lib/index.js'

await Policy.load(process.argv[2] as string)
