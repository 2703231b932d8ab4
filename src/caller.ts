/** Who is calling, read from the database on every request: a token outlives neither its user nor the user's rights. */
export interface Caller {
  id: string
  role: string
}

/** Finds who an access token speaks for now, or undefined if it speaks for nobody (any more). */
export type FindCaller = (accessToken: string) => Promise<Caller | undefined>
