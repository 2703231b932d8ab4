/** A page of rows, however it was found. */
interface PageOf<Row> {
  rows: readonly Row[]
  /** The cursor to go on, or null if nothing follows. */
  next: string | null
  total?: number
}

/** A list as callers see it. */
export function toListView<Row, View>(
  page: PageOf<Row>,
  { limit, offset }: { limit: number; offset?: number | undefined },
  toView: (row: Row) => View,
) {
  const { rows, next, total } = page
  return {
    data: rows.map(toView),
    page: {
      limit,
      hasMore: next !== null,
      nextCursor: next,
      ...(offset !== undefined && { offset }),
      ...(total !== undefined && { total }),
    },
  }
}
