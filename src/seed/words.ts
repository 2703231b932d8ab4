/** Letters with accents come apart into a plain letter and its mark, so that an address can be made of every name. */
export const firstNames = [
  ...['Ada', 'Aisha', 'Amara', 'Andrés', 'Anaïs', 'Ben', 'Beyza', 'Björn', 'Camille', 'Carlos', 'Chidi', 'Chloé'],
  ...['Daniel', 'Dina', 'Eero', 'Elif', 'Emma', 'Esther', 'Fatima', 'Felix', 'Giulia', 'Grace', 'Hana', 'Haruki'],
  ...['Hugo', 'Ines', 'Ivan', 'Jamal', 'Jana', 'Joana', 'José', 'Jürgen', 'Kamal', 'Kwame', 'Laila', 'Léa', 'Liam'],
  ...['Linh', 'Lucía', 'Marek', 'Maya', 'Mei', 'Mia', 'Miguel', 'Nadia', 'Noah', 'Nora', 'Olga', 'Omar', 'Oscar'],
  ...['Paula', 'Priya', 'Rafael', 'Ravi', 'Rosa', 'Samuel', 'Sara', 'Selin', 'Sofia', 'Tariq', 'Théo', 'Uma', 'Yuki'],
] as const

export const lastNames = [
  ...['Adeyemi', 'Almeida', 'Andersson', 'Bauer', 'Bianchi', 'Brown', 'Castillo', 'Chen', 'Costa', 'Das', 'Demir'],
  ...[
    'Diallo',
    'Dubois',
    'Dvořák',
    'Eriksen',
    'Farah',
    'Fernández',
    'Fischer',
    'García',
    'González',
    'Haddad',
    'Horvat',
  ],
  ...[
    'Hughes',
    'Ibrahim',
    'Ivanova',
    'Jansen',
    'Jones',
    'Kaya',
    'Khan',
    'Kim',
    'Kovács',
    'Kumar',
    'Laurent',
    'Lindström',
  ],
  ...['Lopez', 'Mäkinen', 'Mbeki', 'Mensah', 'Moreau', 'Müller', 'Nakamura', 'Nguyễn', 'Novák', "O'Brien", 'Okafor'],
  ...['Papadakis', 'Patel', 'Peeters', 'Pérez', 'Popescu', 'Rossi', 'Sato', 'Schmidt', 'Silva', 'Singh', 'Smith'],
  ...['Suzuki', 'Tanaka', 'Taylor', 'Tran', 'Varga', 'Wang', 'Weber', 'Wilson', 'Yamamoto', 'Zhang'],
] as const

export const styles = [
  ...[
    'Alpine',
    'Amber',
    'Atelier',
    'Bistro',
    'Classic',
    'Coastal',
    'Copenhagen',
    'Dawn',
    'Everyday',
    'Fjord',
    'Heritage',
  ],
  ...['Kyoto', 'Lisbon', 'Market', 'Meadow', 'Nordic', 'Orchard', 'Studio', 'Travel', 'Weekend'],
] as const

export const materials = [
  ...['bamboo', 'beech', 'brass', 'cast-iron', 'cork', 'enamel', 'glass', 'linen', 'porcelain', 'steel', 'stoneware'],
  ...['walnut'],
] as const

export const things = [
  ...['canister', 'carafe', 'coaster', 'coffee scoop', 'cup', 'dripper', 'espresso tamper', 'filter holder', 'infuser'],
  ...[
    'kettle',
    'milk jug',
    'mortar',
    'mug',
    'pitcher',
    'saucer',
    'spoon',
    'stirrer',
    'sugar bowl',
    'tea caddy',
    'teapot',
  ],
  ...['thermos', 'tray', 'trivet', 'whisk'],
] as const

export const variants = ['small', 'medium', 'large', 'set of two', 'set of four', 'set of six'] as const

export const remarks = [
  'Made in small batches.',
  'Dishwasher safe.',
  'Wash by hand.',
  'Ages well with use.',
  'Packed without plastic.',
  'Comes with a five-year warranty.',
  'Seconds with small marks in the glaze.',
  'Goes with the rest of the series.',
] as const
