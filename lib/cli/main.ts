#!/usr/bin/env node
// The `luffy` command. Signals are caught before anything else is loaded.
import { catchEarlySignals } from './early-signals.js'

catchEarlySignals()
const { runCommand } = await import('./program.js')
await runCommand()
