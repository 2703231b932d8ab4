// `npm run build:server`: the production server as one file, `dist/serve.mjs`. `npm start` runs it, anywhere.
import { bundleServer } from './serve/bundle.ts'

await bundleServer('dist')
