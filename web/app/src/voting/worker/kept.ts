// What a voter's device keeps, in the browser's own storage: written down before anything is sent, so that a closed tab costs nothing.

import type { OnRoll } from "../messages.js";
import type { Pending } from "./provider.js";

/** One election's vote, on this device. Times, codes' marks and the voter's name are deleted once the vote is recorded. */
export interface Kept {
  readonly secret: Uint8Array<ArrayBuffer>;
  /** The registrars' signatures so far, in the manifest's order. */
  readonly signatures: readonly Uint8Array<ArrayBuffer>[];
  /** What tells the codes that were sent from others; nobody can find a code from it. */
  readonly marks: readonly string[];
  /** In whose name each of them has issued. */
  readonly onRoll?: readonly OnRoll[];
  /** While the voter is at an identity provider. */
  readonly pending?: Pending;
  /** Drawn once, when the last registrar has signed. */
  readonly castFrom?: number;
  readonly choices?: readonly (readonly number[])[];
  /** The vote entry: cast again, it is these very bytes. */
  readonly entry?: Uint8Array<ArrayBuffer>;
  /** Whether it may have left the device. */
  readonly sent?: boolean;
  readonly receipt?: string;
}

const [DATABASE, STORE] = ["tallyroot", "votes"];

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("no storage"));
  });
}

function finished(change: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    change.oncomplete = () => resolve();
    change.onabort = change.onerror = () => reject(change.error ?? new Error("no storage"));
  });
}

export class Storage {
  private readonly database: IDBDatabase;
  private readonly election: string;

  private constructor(database: IDBDatabase, election: string) {
    this.database = database;
    this.election = election;
  }

  static async open(election: string): Promise<Storage> {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => void request.result.createObjectStore(STORE);
    return new Storage(await done(request), election);
  }

  async read(): Promise<Kept | undefined> {
    return (await done(this.database.transaction(STORE).objectStore(STORE).get(this.election))) as Kept | undefined;
  }

  /** Returns when it is on the disk. */
  async write(kept: Kept | undefined): Promise<void> {
    const change = this.database.transaction(STORE, "readwrite", { durability: "strict" });
    const store = change.objectStore(STORE);
    if (kept === undefined) store.delete(this.election);
    else store.put(kept, this.election);
    await finished(change);
  }

  /** Puts a better form of the receipt in the place of this one, if it is still there. */
  async upgrade(before: string, after: string): Promise<void> {
    const change = this.database.transaction(STORE, "readwrite", { durability: "strict" });
    const store = change.objectStore(STORE);
    const kept = (await done(store.get(this.election))) as Kept | undefined;
    if (kept?.receipt === before) store.put({ ...kept, receipt: after }, this.election);
    await finished(change);
  }
}
