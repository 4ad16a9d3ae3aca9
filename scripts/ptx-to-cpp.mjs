export function translatePtx() { return '' }
