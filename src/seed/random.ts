/**
 * Random numbers that are the same each time: one sequence for each seed, stream and index, so that any row can be made
 * without those before it. The generator is sfc32, which passes PractRand; not for secrets.
 * @see https://pracrand.sourceforge.net/RNG_engines.txt
 */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number, stream: number, index: number) {
    this.#a = index | 0
    this.#b = stream | 0
    this.#c = seed | 0
    // Its author's number of rounds until similar seeds give unlike sequences.
    for (let round = 0; round < 15; round++) this.next()
  }

  /** At least 0, less than 1. */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return (sum >>> 0) / 2 ** 32
  }

  /** A whole number from 0 to `count - 1`, small ones the more often the higher the `skew`; 1 is even. */
  below(count: number, skew = 1): number {
    return Math.floor(count * this.next() ** skew)
  }

  /** A rank from 0 to `count - 1` by Zipf's law: the k-th is drawn 1/k as often as the first. */
  rank(count: number): number {
    return Math.floor((count + 1) ** this.next()) - 1
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.below(list.length)] ?? list[0]
  }
}
