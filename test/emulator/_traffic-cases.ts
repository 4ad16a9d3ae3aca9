// Cases of kernel traffic: small, aligned shapes through the JavaScript API, and what each kernel must move in them.
import type { TrafficCase } from './_traffic.js'
import { attentionCases } from './_traffic-attention.js'
import { lossCases } from './_traffic-losses.js'
import { productCases } from './_traffic-products.js'
import { rowCases } from './_traffic-rows.js'

const all: readonly TrafficCase[] = [...rowCases, ...lossCases, ...productCases, ...attentionCases]

/** Whether kernels run as PTX that nvcc made, for one architecture: EMULATOR_ARCH. */
export const isPtx = process.env.EMULATOR_LEG === 'ptx'

/** The cases that can run here: as PTX those of its architecture. */
export const trafficCases: readonly TrafficCase[] = isPtx
  ? all.filter(({ arch = '80' }) => arch === (process.env.EMULATOR_ARCH ?? '80'))
  : all
