/** The one error that input can cause. `code` names the rule that is broken; `message` says more, in words. */
export class VerifierError extends Error {
  readonly code: string;
  /** The index of the entry in its log, where there is one. */
  readonly index: bigint | undefined;

  constructor(code: string, message: string, index?: bigint) {
    super(message);
    this.name = "VerifierError";
    this.code = code;
    this.index = index;
  }
}

/** Refuses. */
export function fail(code: string, message: string, index?: bigint): never {
  throw new VerifierError(code, message, index);
}

/** Runs `action`; a refusal inside it becomes one of `code`, with the same words. */
export function renamed<T>(code: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof VerifierError ? new VerifierError(code, error.message) : error;
  }
}

/** As `renamed`, for what is not done at once. */
export async function renamedAsync<T>(code: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof VerifierError ? new VerifierError(code, error.message) : error;
  }
}
