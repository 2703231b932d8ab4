import { expect, test } from 'vitest'
import { formatClock, Progress } from '../scripts/progress.ts'

function record(isTTY: boolean) {
  const written: string[] = []
  return { written, output: { isTTY, write: (text: string) => written.push(text) } }
}

test('in a terminal a bar is redrawn on its line, and the line is left at the end', () => {
  const { written, output } = record(true)
  const progress = new Progress(output, 'rows')
  for (let done = 0; done <= 1000; done++) progress.update(done, 1000)
  progress.end()
  expect(written.at(0)).toMatch(/^\r░{30} {3}0% {2}0 of 1,000 rows, /)
  expect(written.at(-2)).toMatch(/^\r█{30} 100% {2}1,000 of 1,000 rows, [\d,]+\/s/)
  expect(written.at(-1)).toBe('\n')
  expect(written.length).toBeLessThan(100)
})

test('elsewhere there is a line for every tenth', () => {
  const { written, output } = record(false)
  const progress = new Progress(output, 'rows')
  for (let done = 0; done <= 1000; done++) progress.update(done, 1000)
  progress.end()
  expect(written.map((line) => line.slice(0, 4))).toEqual([
    ...[' 10%', ' 20%', ' 30%', ' 40%', ' 50%', ' 60%', ' 70%', ' 80%', ' 90%', '100%'],
  ])
  expect(written.every((line) => /^[ \w%,:/]+\n$/.test(line))).toBe(true)
})

test('the clock counts minutes', () => {
  expect([0, 0.2, 59.1, 3700].map(formatClock)).toEqual(['0:00', '0:01', '1:00', '61:40'])
})
