"""Words in a segment's name that ask for a second pair of eyes, as shipped: Swedish and English, by subject. Pure data.

Whole words are compared, so that each ending that should count is listed. A configuration may name its own list instead.
"""

from typing import Final

BY_SUBJECT: Final = {
    "health": """
        hälsa hälsan hälso sjuk sjuka sjukdom sjukdomar diagnos diagnoser patient patienter läkemedel medicin mediciner apotek vård allergi allergier
        astma diabetes diabetiker cancer demens depression ångest adhd autism psykisk psykiska psykiatri missbruk missbrukare alkoholist
        övervikt fetma gravid gravida graviditet ivf funktionshinder funktionsnedsättning inkontinens klimakteriet
        health sick sickness illness disease diseases diagnosis patients medicine medicines medication pharmacy allergy allergies asthma diabetic
        dementia anxiety autistic psychiatric psychiatry addiction addict addicts obesity pregnant pregnancy fertility disability disabled
        incontinence menopause therapy""",
    "religion": """
        religion religioner religiös religiösa tro troende kristen kristna kristendom kyrka kyrkan bibel bibeln muslim muslimer muslimsk islam koran
        koranen moské halal judisk judiska judendom kosher ramadan buddhist buddhism hindu hinduism
        religious faith christian christians christianity church bible muslims islamic quran mosque jewish jews judaism buddhists hindus""",
    "union": """
        facket fackförening fackföreningar fackförbund fackförbundet fackmedlem fackmedlemmar fackligt facklig fackliga
        union unions unionist""",
    "politics": """
        politik politisk politiska politiker partimedlem partimedlemmar väljare socialdemokrat socialdemokrater vänsterpartist
        sverigedemokrat sverigedemokrater liberaler centerpartist kristdemokrat miljöpartist
        politics political politician voter voters conservative conservatives socialist socialists liberals""",
    "sex life": """
        sex sexliv sexuell sexuella sexualitet erotik erotisk erotiska porr sexleksak sexleksaker kondom kondomer homosexuell homosexuella bisexuell
        bisexuella lesbisk lesbiska hbtq transperson transpersoner
        sexual sexuality erotic erotica porn condom condoms gay homosexual bisexual lesbian lgbt lgbtq transgender queer""",
    "ethnicity": """
        etnisk etniska etnicitet ras invandrare invandrarbakgrund flykting flyktingar asylsökande samer samisk samiska romer romsk romska
        ethnic ethnicity racial immigrant immigrants refugee refugees asylum sami roma""",
    "children": """
        barn barnen barns barnfamilj barnfamiljer bebis bebisar småbarn minderårig minderåriga tonåring tonåringar ungdom ungdomar skolbarn
        child children kid kids baby babies toddler toddlers minor minors teen teens teenager teenagers""",
    "money trouble": """
        skuld skulder skuldsatt skuldsatta överskuldsatt överskuldsatta kronofogden inkasso betalningsanmärkning betalningsanmärkningar konkurs
        utmätning snabblån smslån skuldsanering spelberoende arbetslös arbetslösa arbetslöshet
        debt debts indebted insolvent insolvency bankrupt bankruptcy arrears payday unemployed unemployment""",
}
"""Subject -> its words, separated by white space."""
SENSITIVE_WORDS: Final = tuple(dict.fromkeys(word for words in BY_SUBJECT.values() for word in words.split()))
"""Every word once."""
