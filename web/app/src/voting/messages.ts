// What the voting pages and their workers say to each other.

export interface ContestRules { readonly name: string; readonly options: readonly string[]; readonly method: "plurality" | "approval" | "ranked" }

export interface ElectionView {
  readonly id: string;
  readonly title: string;
  readonly demo: boolean;
  readonly opening: number;
  readonly closing: number;
  readonly contests: readonly ContestRules[];
  readonly registrars: readonly string[];
  /** The longest wait between a credential and its cast, in seconds. */
  readonly delay: number;
}

/** For each contest, option indices; ranked ones best first. */
export type Choices = readonly (readonly number[])[];

/** Why it does not go on. The first group is for the voter to mend; the second is trouble that may pass; the third does not fit what was signed. */
export type ProblemId =
  | "badCode" | "otherCode" | "unknownCode" | "noAccounts" | "notThisSignIn" | "notSignedIn" | "notOnRoll" | "provider" | "otherDevice" | "notOpen" | "closed" | "refused" | "firstVote"
  | "noAnswer" | "busy" | "noStorage"
  | "rules" | "registrarSignature" | "issuance" | "wrongVoter" | "wrongBallot" | "wrongPlace" | "notProven";

export interface Problem {
  readonly id: ProblemId;
  /** For experts. */
  readonly detail: string;
  /** Of which registrar. */
  readonly registrar?: number;
  /** The answer that does not hold, as it came: evidence. */
  readonly evidence?: string;
}

/** `sealed`: a head that the election's own rules ask for covers it; `final`: that is the last one. */
export type Standing = "recorded" | "sealed" | "final";

/** A receipt that verified here. */
export interface ReceiptView {
  readonly text: string;
  readonly standing: Standing;
  readonly cell: number;
  readonly index: number;
  readonly credential: string;
  readonly choices: Choices;
  /** The vote entry, base64url. */
  readonly entry: string;
}

export type Step = "loading" | "unreachable" | "otherWindow" | "incapable" | "signIn" | "ballot" | "waiting" | "casting" | "recorded" | "stopped";

/** In whose name a registrar has issued, as it has proven. */
export interface OnRoll {
  readonly identity: string;
  /** The place on the roll. */
  readonly index: number;
  /** In hex: with it anybody can tell that this identity stands at that place. */
  readonly salt: string;
}

/** The page of a provider at which the voter is to sign in. */
export interface Leave { readonly registrar: number; readonly host: string; readonly page: string }

export interface VotingState {
  readonly kind: "state";
  readonly step: Step;
  readonly election: ElectionView | undefined;
  /** How many registrars have signed. */
  readonly signed: number;
  /** Of those that have signed, in their order; no longer known once the vote is recorded. */
  readonly onRoll: readonly OnRoll[];
  /** Something is under way that the voter waits for. */
  readonly busy: boolean;
  readonly problem: Problem | undefined;
  /** When casting begins. */
  readonly castFrom: number | undefined;
  readonly choices: Choices | undefined;
  /** Whether the vote has left the device: then it cannot be changed. */
  readonly sent: boolean;
  readonly receipt: ReceiptView | undefined;
  readonly leave: Leave | undefined;
}

export type ToVoter =
  /** `back`: what an identity provider sent the voter back with. */
  | { readonly kind: "open"; readonly base: string; readonly id: string; readonly back: string | undefined }
  | { readonly kind: "account"; readonly registrar: number }
  | { readonly kind: "sign-in"; readonly codes: readonly string[] }
  | { readonly kind: "cast"; readonly choices: Choices }
  | { readonly kind: "change" | "again" | "forget" };

/** The ledger's word on a receipt, as the ruling of a dispute has it; `invalid` and `otherElection` are the receipt's own fault, `unasked` is nobody's. */
export type VerdictId = "counted" | "covered" | "held" | "unasked" | "undecided" | "rolledBack" | "dropped" | "splitView" | "invalid" | "otherElection" | "noReceipt" | "notThere" | "unreachable";

export interface Verdict {
  readonly kind: "verdict";
  /** Which question it answers. */
  readonly n: number;
  readonly id: VerdictId;
  readonly election: ElectionView | undefined;
  readonly receipt: ReceiptView | undefined;
  /** A file that a third party judges offline (protocol, section 17). */
  readonly dispute: string | undefined;
  readonly detail: string;
  readonly cancelled: boolean;
}

export type ToChecker =
  | { readonly kind: "open"; readonly base: string; readonly id: string }
  | { readonly kind: "check"; readonly n: number; readonly text: string }
  /** As a QR code carries it: the vote entry in base64url, and its index. */
  | { readonly kind: "find"; readonly n: number; readonly index: string; readonly entry: string };
/** What the device keeps of this election. */
export interface Own { readonly kind: "own"; readonly text: string | undefined }
export type FromChecker = Verdict | Own;
