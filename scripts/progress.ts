const BAR_WIDTH = 30
const REDRAW_MS = 100

export interface ProgressOutput {
  readonly isTTY?: boolean
  write(text: string): unknown
}

/** How far some work is, at what rate, and how long it will take: a bar in a terminal, a line for every tenth elsewhere. */
export class Progress {
  readonly #output: ProgressOutput
  readonly #unit: string
  readonly #started = performance.now()
  #drawnAt = Number.NEGATIVE_INFINITY
  #tenths = 0

  constructor(output: ProgressOutput, unit: string) {
    this.#output = output
    this.#unit = unit
  }

  update(done: number, total: number): void {
    const now = performance.now()
    const part = total === 0 ? 1 : done / total
    if (this.#output.isTTY) {
      if (now - this.#drawnAt < REDRAW_MS && done < total) return
      this.#drawnAt = now
      const filled = Math.floor(part * BAR_WIDTH)
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled)
      this.#output.write(`\r${bar} ${this.#describe(done, total, now)}\x1b[K`)
    } else if (Math.floor(part * 10) > this.#tenths) {
      this.#tenths = Math.floor(part * 10)
      this.#output.write(`${this.#describe(done, total, now)}\n`)
    }
  }

  /** Leaves the line that the bar is on. To be called once, however the work ended. */
  end(): void {
    if (this.#output.isTTY && this.#drawnAt > 0) this.#output.write('\n')
  }

  #describe(done: number, total: number, now: number): string {
    const perSecond = (done / Math.max(now - this.#started, 1)) * 1000
    const left = done < total ? `, ${formatClock((total - done) / perSecond)} left` : ''
    const percent = `${Math.floor((done / Math.max(total, 1)) * 100)}%`.padStart(4)
    return `${percent}  ${formatCount(done)} of ${formatCount(total)} ${this.#unit}, ${formatCount(perSecond)}/s${left}`
  }
}

export const formatCount = (value: number) => Math.round(value).toLocaleString('en')

/** `m:ss`, for any number of minutes. */
export function formatClock(seconds: number): string {
  const whole = Math.ceil(seconds)
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`
}
