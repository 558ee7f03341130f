/** What a daemon says of itself once it has started, or has not. */
export type ReadyReport = { ok: true; pid: number } | { ok: false; code: string; message: string };
