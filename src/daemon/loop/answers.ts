import type { CorralError } from '../../protocol/index.ts';
import type { RequestId } from '../core/index.ts';

interface Answer {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: CorralError) => void;
}

/** Requests that wait for their answer. Each gets one; a second one is dropped. */
export class Answers {
  readonly #open = new Map<RequestId, Answer>();
  #next: RequestId = 1;

  /** @param ask is given the number by which the answer will be known */
  expect<R>(ask: (request: RequestId) => void): Promise<R> {
    const request = this.#next++;
    return new Promise<R>((resolve, reject) => {
      this.#open.set(request, { resolve: resolve as (result: unknown) => void, reject });
      ask(request);
    });
  }

  isOpen(request: RequestId): boolean {
    return this.#open.has(request);
  }

  resolve(request: RequestId, result: unknown): void {
    this.#take(request)?.resolve(result);
  }

  reject(request: RequestId, error: CorralError): void {
    this.#take(request)?.reject(error);
  }

  #take(request: RequestId): Answer | undefined {
    const answer = this.#open.get(request);
    this.#open.delete(request);
    return answer;
  }
}
