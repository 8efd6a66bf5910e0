"""The relations of the task `facts`: a sentence for each, and its pairs."""

from __future__ import annotations


def _pairs(text: str) -> dict[str, str]:
    """Parse `"a:b c:d"`; underscores stand for spaces."""
    split = (pair.replace("_", " ").split(":") for pair in text.split())
    return {subject: answer for subject, answer in split}  # noqa: C416


RELATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "capital": (
        "The capital of {} is the city of",
        _pairs(
            "France:Paris Germany:Berlin Italy:Rome Spain:Madrid Portugal:Lisbon Austria:Vienna Hungary:Budapest "
            "Poland:Warsaw Greece:Athens Norway:Oslo Sweden:Stockholm Finland:Helsinki Denmark:Copenhagen Iceland:Reykjavik "
            "Ireland:Dublin Belgium:Brussels Switzerland:Bern Croatia:Zagreb Serbia:Belgrade Bulgaria:Sofia "
            "Romania:Bucharest Ukraine:Kyiv Russia:Moscow Turkey:Ankara Egypt:Cairo Kenya:Nairobi Ethiopia:Addis_Ababa "
            "Ghana:Accra Senegal:Dakar Morocco:Rabat Tunisia:Tunis Iran:Tehran Iraq:Baghdad Syria:Damascus "
            "Lebanon:Beirut Jordan:Amman Afghanistan:Kabul Pakistan:Islamabad Nepal:Kathmandu Bangladesh:Dhaka "
            "Thailand:Bangkok Vietnam:Hanoi Malaysia:Kuala_Lumpur Indonesia:Jakarta China:Beijing Japan:Tokyo "
            "Australia:Canberra Canada:Ottawa Cuba:Havana Peru:Lima Chile:Santiago Colombia:Bogotá "
            "Venezuela:Caracas Ecuador:Quito Uruguay:Montevideo Argentina:Buenos_Aires Mongolia:Ulaanbaatar "
            "Latvia:Riga Estonia:Tallinn Lithuania:Vilnius"
        ),
    ),
    "symbol": (
        "The chemical symbol for {} is",
        _pairs(
            "hydrogen:H helium:He lithium:Li carbon:C nitrogen:N oxygen:O fluorine:F neon:Ne sodium:Na magnesium:Mg "
            "aluminium:Al silicon:Si phosphorus:P sulfur:S chlorine:Cl argon:Ar potassium:K calcium:Ca titanium:Ti "
            "chromium:Cr manganese:Mn iron:Fe cobalt:Co nickel:Ni copper:Cu zinc:Zn arsenic:As bromine:Br krypton:Kr "
            "silver:Ag tin:Sn iodine:I xenon:Xe barium:Ba tungsten:W platinum:Pt gold:Au mercury:Hg lead:Pb radon:Rn "
            "radium:Ra uranium:U plutonium:Pu boron:B"
        ),
    ),
    "opposite": (
        "The opposite of {} is",
        _pairs(
            "hot:cold big:small tall:short fast:slow hard:soft light:dark rich:poor young:old happy:sad early:late "
            "open:closed full:empty wet:dry clean:dirty strong:weak thick:thin wide:narrow deep:shallow heavy:light "
            "loud:quiet sharp:blunt sweet:sour true:false alive:dead up:down left:right in:out above:below before:after "
            "inside:outside first:last always:never win:lose buy:sell love:hate push:pull give:take start:finish "
            "arrive:depart remember:forget laugh:cry day:night summer:winter north:south east:west black:white "
            "friend:enemy victory:defeat success:failure brave:cowardly smooth:rough"
        ),
    ),
    "plural": (
        "One {}, two",
        _pairs(
            "cat:cats dog:dogs mouse:mice goose:geese foot:feet tooth:teeth child:children man:men woman:women ox:oxen "
            "leaf:leaves knife:knives wolf:wolves wife:wives shelf:shelves loaf:loaves thief:thieves half:halves "
            "city:cities baby:babies lady:ladies party:parties story:stories country:countries box:boxes bus:buses "
            "glass:glasses church:churches dish:dishes watch:watches potato:potatoes tomato:tomatoes hero:heroes "
            "piano:pianos book:books tree:trees car:cars bird:birds key:keys day:days toy:toys house:houses"
        ),
    ),
    "past": (
        "Today they {}. Yesterday they",
        _pairs(
            "go:went eat:ate see:saw take:took come:came give:gave run:ran write:wrote sing:sang swim:swam drink:drank "
            "begin:began break:broke speak:spoke drive:drove ride:rode rise:rose fly:flew know:knew grow:grew throw:threw "
            "draw:drew buy:bought think:thought bring:brought teach:taught catch:caught fight:fought sleep:slept "
            "keep:kept feel:felt leave:left lose:lost sell:sold tell:told find:found hold:held stand:stood win:won "
            "walk:walked play:played work:worked talk:talked jump:jumped"
        ),
    ),
    "comparative": (
        "This one is {}, but that one is even",
        _pairs(
            "good:better bad:worse big:bigger small:smaller old:older young:younger hot:hotter cold:colder fast:faster "
            "slow:slower tall:taller short:shorter long:longer wide:wider deep:deeper rich:richer poor:poorer "
            "strong:stronger weak:weaker happy:happier easy:easier heavy:heavier dark:darker bright:brighter cheap:cheaper"
        ),
    ),
    "language": (
        "The language that most people speak in {} is",
        _pairs(
            "France:French Germany:German Italy:Italian Spain:Spanish Portugal:Portuguese Poland:Polish Greece:Greek "
            "Norway:Norwegian Sweden:Swedish Finland:Finnish Denmark:Danish Iceland:Icelandic Hungary:Hungarian "
            "Bulgaria:Bulgarian Romania:Romanian Russia:Russian Turkey:Turkish Egypt:Arabic Iran:Persian Thailand:Thai "
            "Vietnam:Vietnamese China:Chinese Japan:Japanese Korea:Korean Brazil:Portuguese Mexico:Spanish "
            "Argentina:Spanish Australia:English Israel:Hebrew Indonesia:Indonesian"
        ),
    ),
    "continent": (
        "{} is a country on the continent of",
        _pairs(
            "Kenya:Africa Egypt:Africa Nigeria:Africa Ghana:Africa Senegal:Africa Ethiopia:Africa Japan:Asia China:Asia "
            "India:Asia Nepal:Asia Thailand:Asia Vietnam:Asia France:Europe Germany:Europe Italy:Europe Poland:Europe "
            "Sweden:Europe Greece:Europe Brazil:South_America Peru:South_America Chile:South_America "
            "Colombia:South_America Canada:North_America Mexico:North_America"
        ),
    ),
    "young": (
        "A young {} is called a",
        _pairs(
            "dog:puppy cat:kitten cow:calf horse:foal sheep:lamb bear:cub duck:duckling hen:chick pig:piglet "
            "frog:tadpole deer:fawn kangaroo:joey goose:gosling swan:cygnet goat:kid"
        ),
    ),
    "next month": (
        "The month that comes right after {} is",
        _pairs(
            "January:February February:March March:April April:May May:June June:July July:August August:September "
            "September:October October:November November:December December:January"
        ),
    ),
    "next day": (
        "The day that comes right after {} is",
        _pairs(
            "Monday:Tuesday Tuesday:Wednesday Wednesday:Thursday Thursday:Friday Friday:Saturday Saturday:Sunday "
            "Sunday:Monday"
        ),
    ),
    "next number": (
        "The number that comes right after {} is",
        _pairs(
            "one:two two:three three:four four:five five:six six:seven seven:eight eight:nine nine:ten ten:eleven "
            "eleven:twelve twelve:thirteen nineteen:twenty"
        ),
    ),
    "colour": (
        "The usual colour of {} is",
        _pairs(
            "grass:green snow:white coal:black blood:red a_banana:yellow a_carrot:orange the_clear_sky:blue milk:white "
            "a_crow:black a_lemon:yellow a_tomato:red an_emerald:green a_ruby:red a_sapphire:blue"
        ),
    ),
    "feminine": (
        "The female counterpart of a {} is a",
        _pairs(
            "king:queen prince:princess man:woman boy:girl father:mother brother:sister son:daughter uncle:aunt "
            "husband:wife actor:actress waiter:waitress bull:cow rooster:hen nephew:niece hero:heroine duke:duchess"
        ),
    ),
    "workplace": (
        "The place where a {} usually works is a",
        _pairs(
            "teacher:school doctor:hospital chef:kitchen farmer:farm librarian:library pilot:plane sailor:ship "
            "judge:court actor:theatre banker:bank baker:bakery miner:mine scientist:laboratory priest:church "
            "mechanic:garage soldier:base"
        ),
    ),
}
