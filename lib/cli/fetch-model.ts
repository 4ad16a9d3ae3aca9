// Models of the hub are fetched before a command needs them, with their progress on stderr; folders are as they are.
import { type DownloadProgress, isHubReference, type ModelParts, modelFolder } from '../policy/hub.js'
import { type Phase, Progress } from '../report/progress.js'

const unit = 2 ** 20

/** The folder of a model that a command was given. */
export async function fetchModel(
  model: string,
  options: { parts?: ModelParts; signal?: AbortSignal | undefined } = {},
): Promise<string> {
  if (!isHubReference(model)) return model
  const progress = new Progress()
  let phase: Phase | undefined
  let total = -1
  const show = ({ file, bytes, totalBytes }: DownloadProgress) => {
    if (totalBytes !== total)
      phase = progress.phase('fetching', { total: Math.ceil(totalBytes / unit), unit: 'MiB' })
    total = totalBytes
    phase?.update(Math.floor(bytes / unit), { model, file })
  }
  try {
    return await modelFolder(model, { ...options, onDownload: show })
  } finally {
    progress.close()
  }
}
