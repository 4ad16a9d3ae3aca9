// A task of the caller's own: a JavaScript module that makes it, and the base policy for it.
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../errors.js'
import { checkTask, type Task } from '../rewards/task.js'
import type { BaseRecipe } from '../training/base-recipe.js'
import { opChainsBase } from '../training/op-chains-base.js'

export interface TaskModule {
  makeTask?: (options: Record<string, unknown>) => Task | Promise<Task>
  makeBase?: (options: Record<string, unknown>) => BaseRecipe | Promise<BaseRecipe>
}

/** Loads a module. Throws ConfigError where it cannot be loaded or lacks what is asked for. */
async function load(path: string): Promise<TaskModule> {
  try {
    return (await import(pathToFileURL(resolve(path)).href)) as TaskModule
  } catch (error) {
    throw new ConfigError(`module ${path}: ${error instanceof Error ? error.message : String(error)}`, {
      path,
      cause: error,
    })
  }
}

export async function moduleTask(path: string, options: Record<string, unknown>): Promise<Task> {
  const { makeTask } = await load(path)
  if (typeof makeTask !== 'function')
    throw new ConfigError(`module ${path}: has no function makeTask`, { path })
  return checkTask(await makeTask(options))
}

/** The recipe of a base policy: the module's, or that of op chains. */
export async function baseRecipe(
  path: string | undefined,
  options: Record<string, unknown>,
): Promise<BaseRecipe> {
  if (path === undefined) return opChainsBase(options)
  const { makeBase } = await load(path)
  if (typeof makeBase !== 'function') {
    throw new ConfigError(`module ${path}: has no function makeBase; give a model folder as base`, { path })
  }
  return await makeBase(options)
}
