export async function quick(_: unknown): Promise<void> {}
